"""What travels on the wire: topics, events, their validation, and the headers around them."""
