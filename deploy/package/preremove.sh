#!/bin/sh
# Before removing: deb says remove, rpm the number of versions that stay.
set -e

case "$1" in
remove | 0) ;;
*) exit 0 ;; # an upgrade
esac

if [ -d /run/systemd/system ]; then
	systemctl disable --now tsupload.timer tsupload.service || true
	systemctl stop tsupload-once.service || true
fi
