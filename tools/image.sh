#!/bin/sh
# Lays out the file system of the image in a directory: the binary given, under both of its names, with root certificates of
# this machine and zone data of the Go installation.
#   tools/image.sh BINARY DIRECTORY
set -eu
umask 022
binary=$1 root=$2
certificates=
for f in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
	[ -n "$f" ] && [ -f "$f" ] && certificates=$f && break
done
[ -n "$certificates" ] || { echo 'image: no root certificates on this machine: install ca-certificates' >&2; exit 1; }
rm -rf "$root"
mkdir -p "$root/usr/local/bin" "$root/usr/share" "$root/etc/ssl/certs" "$root/etc/sluice" "$root/tmp"
cp "$binary" "$root/sluice"
chmod 755 "$root/sluice"
ln -s /sluice "$root/usr/local/bin/sluice"
ln -s /sluice "$root/usr/local/bin/traefik"
cp "$certificates" "$root/etc/ssl/certs/ca-certificates.crt"
cp "$("${GO:-go}" env GOROOT)/lib/time/zoneinfo.zip" "$root/usr/share/zoneinfo.zip"
chmod 644 "$root/etc/ssl/certs/ca-certificates.crt" "$root/usr/share/zoneinfo.zip"
# A new volume takes over the mode of the directory that it is mounted on: any user may keep certificates in /data.
mkdir "$root/data"
chmod 1777 "$root/tmp" "$root/data"
