#!/bin/sh
#
# Build dist/certgrinderd.pyz: certgrinderd and all it needs in one file.
set -eu

usage() {
    cat <<'END'
usage: ./build_pyz.sh [-h]

Builds dist/certgrinderd.pyz from this checkout and from the packages locked in
build/requirements.txt. Needs python3 (3.10 or newer) with its venv module, and a
package index; everything else is fetched into a temporary folder, checked against
the locked hashes, and removed again.

The file runs on the Python version and the kind of machine that it was built with.
A failed build leaves the previous file as it was.

Environment:
  PYTHON   the interpreter to build with and for (python3)
  TMPDIR   where the temporary folder goes (/tmp)
END
}

fail() {
    printf 'build_pyz.sh: %s\n' "$1" >&2
    exit 1
}

case ${1-} in
'') ;;
-h | --help)
    usage
    exit 0
    ;;
*)
    usage >&2
    exit 2
    ;;
esac

# The folder of this script, without dirname or readlink: a machine that lacks python3 may be bare.
root=${0%/*}
[ "$root" != "$0" ] || root=.

python=${PYTHON:-python3}
command -v -- "$python" >/dev/null 2>&1 ||
    fail "no $python found: install Python 3.10 or newer (Debian: apt-get install python3-venv)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    fail "$python is not Python 3.10 or newer: set PYTHON to one that is"
# Debian keeps ensurepip out of its python3; venv would then make half an environment and fail.
"$python" -I -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python lacks its venv module: install that too (Debian: apt-get install python3-venv)"

# The modes of the files inside are part of the pyz's bytes.
umask 022

temp=
new=
clean_up() {
    status=$?
    trap - EXIT
    [ -z "$new" ] || rm -f -- "$new"
    [ -z "$temp" ] || rm -rf -- "$temp"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM
temp=$(mktemp -d "${TMPDIR:-/tmp}/build_pyz.XXXXXXXX")

# Quiet, unless it fails.
run() {
    "$@" >"$temp/log" 2>&1 || {
        cat -- "$temp/log" >&2
        fail "that failed: $*"
    }
}

# -I: nothing from the current folder, PYTHONPATH or the user's own packages.
# --no-compile: compiled files would fit one Python version only, and differ from build to build.
install() {
    run "$temp/venv/bin/python" -I -m pip install --disable-pip-version-check --no-input \
        --no-compile --no-warn-script-location "$@"
}

printf 'Fetching what is locked in build/ …\n'
run "$python" -I -m venv "$temp/venv"
install --require-hashes -r "$root/build/tools.txt"
install --require-hashes -r "$root/build/requirements.txt" --target "$temp/site"

printf 'Adding certgrinderd …\n'
(cd -- "$root" && run "$temp/venv/bin/python" -I -m hatchling build -t wheel -d "$temp/wheel")
# Unpacked, since pip would write down the temporary folder that it was installed from.
run "$python" -I -m zipfile -e "$temp"/wheel/certgrinderd-*.whl "$temp/site"
# The packages' commands name the temporary folder, and nothing calls them. Their hashes stand in
# the lists of installed files, which are only of use to pip.
rm -rf -- "$temp/site/bin" "$temp"/site/*.dist-info/RECORD

printf 'Packing …\n'
mkdir -p -- "$root/dist"
pyz=$root/dist/certgrinderd.pyz
# In the same folder, so that mv replaces the old file in one step.
new=$root/dist/.certgrinderd.pyz.$$
# shiv's own -q would be taken for pip's and make it fail.
run "$temp/venv/bin/python" -I -m shiv.cli --site-packages "$temp/site" --compressed \
    --reproducible --python '/usr/bin/env python3' --entry-point certgrinderd.cli:main \
    --output-file "$temp/pyz"
# Its start is ours: see build/pyz_main.py.
"$temp/venv/bin/python" -I - "$temp/pyz" "$root/build/pyz_main.py" "$new" <<'END'
import json
import pathlib
import sys
import zipfile

packed, main, new = map(pathlib.Path, sys.argv[1:])
with zipfile.ZipFile(packed) as source, new.open("wb") as file:
    with packed.open("rb") as head:
        file.write(head.readline())
    build_id = json.loads(source.read("environment.json"))["build_id"]
    text = main.read_text(encoding="utf-8").replace("_BUILD_ID", f"_{build_id}")
    with zipfile.ZipFile(file, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename == "__main__.py":
                data = text.encode()
            target.writestr(entry, data)
new.chmod(0o755)
END
mv -f -- "$new" "$pyz"
new=

"$python" -I - "$pyz" <<'END'
import hashlib
import pathlib
import platform
import sys

pyz = pathlib.Path(sys.argv[1])
content = pyz.read_bytes()
version = ".".join(platform.python_version_tuple()[:2])
print(
    f"{pyz}: {len(content) / 1e6:.1f} MB, for "
    f"{platform.python_implementation()} {version} on {platform.system()} {platform.machine()}"
)
print(f"SHA-256 {hashlib.sha256(content).hexdigest()}")
END
