"""`roost uninstall`: every node gives its VIPs away and is clean before the chart goes."""
