#!/bin/sh
# After removing. The ledger is the memory of what was sent: without it
# everything would be sent again. It is kept, also by a purge, and so is the
# user that owns it.
set -e

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi

case "$1" in
purge | 0)
	if [ -e /var/lib/tsupload/ledger.db ]; then
		echo "tsupload: the ledger in /var/lib/tsupload is kept: it is the memory of what was sent" >&2
		echo "tsupload: where it is not needed any more: rm -r /var/lib/tsupload && userdel tsupload" >&2
	fi
	;;
esac
