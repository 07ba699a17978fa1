"""Deploys that make a hardened PostgreSQL host and its backup host, with pyinfra.

`core` is pure: what is declared, and what follows from it. `ops` and `facts` alone know pyinfra's
internals, `roles` say what a host is made of, `site.py` puts them in order.
"""
