"""Requests that nobody in his right mind would send: nothing may break, hang or go unanswered."""
