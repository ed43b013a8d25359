# The image holds the static binary and what it reads: root certificates, zone data, a directory for temporary files. In /data,
# on which a volume for certificates is mounted, every user may write.
# `make image` lays these out in dist/image and builds it; nothing is downloaded, and nothing else is inside.
FROM scratch
COPY dist/image/ /
ENV PATH=/usr/local/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt ZONEINFO=/usr/share/zoneinfo.zip
EXPOSE 80 443 8080
ENTRYPOINT ["/sluice"]
