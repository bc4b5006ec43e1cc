"""The HTTP edge: thin handlers over use cases, queries and ingestion."""
