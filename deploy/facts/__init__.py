"""What is so on a host, read without changing anything: pyinfra facts of our own.

Each ends well whatever the host is like: what is not there yet, or a server that is down, is
None, never a failed host.
"""
