"""Ask an address until it answers 200, for two minutes, and print the answer."""

import sys
import time
import urllib.request

URL = sys.argv[1]
deadline = time.monotonic() + 120
while True:
    try:
        with urllib.request.urlopen(URL, timeout=5) as response:
            print(response.read().decode(), end="")
            break
    except OSError as error:
        if time.monotonic() > deadline:
            sys.exit(f"{URL}: {error}")
        time.sleep(1)
