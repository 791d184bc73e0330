"""What the businesses of random histories sell, to whom, and in which amounts."""

import re

ZONES = ("UTC", "UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata")
CUSTOMERS = ("al", "bo")

LARGEST, SMALLEST = "999999999999999999.999999999999", "0.000000000001"
VALUES = (
    "1",
    "3",
    "10",
    "99.5",
    "100",
    "250",
    "0.125",
    "-2",
    "999999999999999999.999999999999",
    "0.000000000001",
)
RATES = ("0.07", "0.333", "1", "2.5")
AMOUNTS = ("9", "10", "19.99", "33.33", "100")
YEN = ("9", "10", "1999", "3333", "100")

LICENCES = {
    "basic": "{amount} {money}, per month",
    "premium": "{amount} {money}, per month",
    "seats": "graduated {money}, per month; {amount} flat and {rate} up to 2, then {rate}",
    "bulk": "volume {money}, per month; {amount} up to 2, then {rate}",
    "weekly": "{amount} {money}, per week",
    "tenth": "{amount} {money}, per 10 days",
    "yearly": "{amount} {money}, per year",
    "support": "{amount} {money}, per month, in arrears",
    "quarterly": "{amount} {money}, per 3 months, in arrears",
    "fortnight": "{amount} {money}, per 2 weeks, in arrears",
}
METERED = re.compile(r"on (\w+)")
ARREARS = [name for name, terms in LICENCES.items() if "in arrears" in terms]
USAGE = {
    "usage": "graduated {money}, per month, on tokens; 0 up to 100, then {rate}",
    "flat": "volume {money}, per month, on tokens; {amount} flat up to 100, then {rate}",
    "packs": "{amount} {money} for each 100 units above 50, per month, on tokens",
    "large": "{rate} {money}, per month, on tokens, for model large",
    "reported": "{rate} {money}, per month, on tokens, late usage reported",
    "calling": "{rate} {money}, per month, on calls",
    "weeks": "{rate} {money}, per week, on tokens",
    "quarter": "{rate} {money}, per 3 months, on tokens",
    "peaks": "{amount} {money}, per month, on peak",
    "level": "{amount} {money}, per month, on seats",
    "lasting": "graduated {money}, per 10 days, on seats; {rate} up to 2, then {amount}",
}
"""What prices ask, by their names; tiers stand last, after a semicolon."""

LATER = "calling"
"""What is sold only when its usage has been sent for some time."""
USAGE_AT_FIRST = [name for name in USAGE if name != LATER]
