"""What is done to a host: pyinfra operations of our own.

Each first says all that is not as declared (`record.py`), then yields the commands that make it
so, and yields nothing when there is nothing to do. What it needs to know it reads by facts when it
runs, never before: an earlier operation of the same run may have changed it. Secrets go over
standard input, which nothing prints.
"""
