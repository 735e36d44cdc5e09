#!/bin/sh
# After installing or upgrading. Nothing is enabled: what is sent on behalf of
# people starts when somebody says so.
set -e

case "$1" in
abort-*) exit 0 ;;
esac

if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers /usr/lib/sysusers.d/tsupload.conf
elif ! getent passwd tsupload >/dev/null; then
	useradd --system --user-group --no-create-home --home-dir /var/lib/tsupload --shell /usr/sbin/nologin tsupload
fi

if [ ! -e /var/lib/tsupload ]; then
	install -d -m 0700 -o tsupload -g tsupload /var/lib/tsupload
fi

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	# A daemon that runs drains and comes back as the new version; one that
	# does not run stays so.
	systemctl try-restart tsupload.service || true
fi
