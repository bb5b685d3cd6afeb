#!/usr/bin/env bash
# Chromium for the tests of the viewer, where there is none and apt may install it. Without one the tests say that they were left
# out, and fail where CI is set.
set -euo pipefail
for name in "${CHROMIUM:-chromium}" chromium-browser google-chrome google-chrome-stable; do
  command -v "$name" >/dev/null && exit 0
done
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "browser: no Chromium, and only root can install one with apt-get: the viewer isn't tested in a browser" >&2
  [ -z "${CI:-}" ] || exit 1
  exit 0
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
