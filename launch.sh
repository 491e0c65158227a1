#!/bin/sh
# Double-click launcher for Linux: finds a Python and starts Atelier. In a terminal it works just as well.
folder=$(cd "$(dirname "$0")" && pwd)
# a double-click on macOS does not know where Homebrew and python.org put their Pythons
PATH="$PATH:/opt/homebrew/bin:/usr/local/bin:/Library/Frameworks/Python.framework/Versions/Current/bin"

found=
status=1
for python in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$python" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then
        "$python" "$folder/launch.py" "$@"
        status=$?
        found=yes
        break
    fi
done
if [ -z "$found" ]; then
    echo "Atelier needs Python 3.11 or newer, and none was found on this computer."
    echo "Install it from https://www.python.org/downloads/ and start again."
fi
# keep the window open, so that the message can be read; 130 is Ctrl-C
if [ "$status" -ne 0 ] && [ "$status" -ne 130 ] && [ -t 0 ]; then
    printf "Press Enter to close this window."
    read -r _
fi
exit "$status"
