"""What projections of a stream of dpkg's have to hold, told by somebody else.

    projection_oracle.py FILE     the latest status of each package, and how often each was installed, as JSON
"""

import json
import sys

latest, installed, status_changes = {}, {}, 0
with open(sys.argv[1], encoding="utf-8") as file:
    for line in file:
        event = json.loads(line)
        package = event["data"].get("package")
        if event["event_type"].startswith("package.status."):
            latest[package] = event["event_type"].removeprefix("package.status.")
            status_changes += 1
        if event["event_type"] == "package.install":
            installed[package] = installed.get(package, 0) + 1
print(json.dumps({"latest": latest, "installed": installed, "status_changes": status_changes}))
