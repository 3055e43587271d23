#!/usr/bin/env bash
# Makes .venv-s3, where tests run against a local S3 server: s3fs, boto3 and moto as pinned in constraints-s3.txt, and
# behind them, so that torch is not installed twice, everything of the environment of PYTHON.
# Usage: tools/s3_environment.sh [PYTHON], default .venv/bin/python
set -euo pipefail
cd "$(dirname "$0")/.."
python="${1:-.venv/bin/python}"
behind="$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
test -x .venv-s3/bin/python || "$python" -m venv .venv-s3
own="$(.venv-s3/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
# Not behind it while pip looks: what is there would count as installed.
rm -f "$own/behind.pth"
.venv-s3/bin/python -m pip install --quiet --requirement constraints-s3.txt
echo "import site; site.addsitedir('$behind')" > "$own/behind.pth"
