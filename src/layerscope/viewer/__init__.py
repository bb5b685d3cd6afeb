"""The viewer's Python side: a layer as bytes for a page, and the session that answers its requests."""
