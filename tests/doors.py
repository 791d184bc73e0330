"""The doors of the house: each library that lets the world in, and who may import it."""

SCHEMA = ("app/schema/", "app/web/graphql.py", "app/web/answers.py")
HTTP = ("app/server.py", "app/web/", "app/ingest.py", "app/adapters/", "app/auth.py")
FILES = ("app/store.py", "app/snapshots.py", "app/control.py", "app/bench_floor.py")
POSTGRES = (
    *(
        f"app/postgres_{what}.py"
        for what in ("store", "rows", "turns", "following", "schemas", "snapshots")
    ),
    "projections/postgres.py",
)
CLOCK = ("app/clock.py",)
SENDER = ("app/client.py",)  # runs where it is copied to, and no door of ours is there
PROTOCOLS = ("app/web/deadlines.py", "app/web/h11_deadlines.py", "app/web/httptools_deadlines.py")

DOORS = {
    "strawberry": SCHEMA,
    "graphql": SCHEMA,
    "starlette": HTTP,
    "uvicorn": (*PROTOCOLS, "app/web/live_sockets.py", "app/web/serving.py"),
    "h11": ("app/web/h11_deadlines.py",),
    "httptools": ("app/web/httptools_deadlines.py",),
    "wsproto": ("app/web/live_sockets.py",),
    "eventsourcing": ("app/store.py", *POSTGRES),
    **dict.fromkeys(("backports", "compression"), ("app/compressed.py",)),
    "pyarrow": ("app/exports/parquet.py",),
    "prometheus_client": ("app/measures.py", "app/web/metrics.py"),
    "cryptography": ("app/checkpoints.py", "app/verifier.py"),
    "sqlite3": (*FILES, "projections/tables.py"),
    **dict.fromkeys(
        ("psycopg", "psycopg_pool"),
        (*POSTGRES, "projections/postgres_tables.py", "projections/postgres_writing.py"),
    ),
    **dict.fromkeys(("uuid", "random", "secrets"), (*CLOCK, *SENDER)),
    **dict.fromkeys(("http", "urllib", "socket", "ssl"), ("app/receiver.py", *SENDER)),
    "msgspec": ("app/", "domain/", "projections/"),
}
"""Each library that lets the world in, with the only files that may import it."""
