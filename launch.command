#!/bin/sh
# Double-click launcher for macOS.
exec "$(dirname "$0")/launch.sh" "$@"
