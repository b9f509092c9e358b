"""Event reports of SEL relays."""
