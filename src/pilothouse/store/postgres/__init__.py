"""The store on PostgreSQL: for many machines and several servers, through psycopg 3."""
