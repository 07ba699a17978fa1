"""The place of the move from a hosted PostgreSQL (Supabase) to one's own.

Nothing is built yet. A database that `strongroom backup` can reach can be restored on another
server by `strongroom restore`.
"""
