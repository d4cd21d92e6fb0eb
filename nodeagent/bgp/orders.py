"""What the agent tells the keeper of gobgpd, a byte a second."""

SOCKET = "/run/roost/gobgpd-keeper.sock"
REST = b"R"  # told to end: kill gobgpd, routers shall keep its paths (a planned restart)
GIVE = b"G"  # told to end: wait until the agent has left, then have gobgpd end its sessions
ANEW = b"!"  # restart gobgpd now
