#!/bin/sh
#
# Build dist/certgrinderd.pyz: certgrinderd and all it needs in one file.
set -eu

usage() {
    cat <<'END'
usage: ./build_pyz.sh [-h] [--platform PLATFORM]

Builds dist/certgrinderd.pyz from this checkout and from the packages locked in
build/requirements.txt, with its SHA-256 (.sha256) and a list of all that is inside
(.cdx.json, CycloneDX) beside it. Needs python3 (3.10 or newer) with its venv module,
and a package index; everything else is fetched into a temporary folder, checked
against the locked hashes, and removed again. The same commit gives the same bytes.

  --platform linux-x86_64, linux-aarch64
             for CPython 3.10 to 3.14 on Linux with glibc; the default is the one of
             this machine. Named here, the file is dist/certgrinderd-PLATFORM.pyz.
  --platform native
             for the python3 at hand alone, on whatever this machine is; what has no
             wheel is compiled. The default where the two above do not fit.

A failed build leaves the previous files as they were.

Environment:
  PYTHON   the interpreter to build with (python3)
  TMPDIR   where the temporary folder goes (/tmp)
END
}

fail() {
    printf 'build_pyz.sh: %s\n' "$1" >&2
    exit 1
}

platform=
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --platform=*)
            platform=${1#*=}
            ;;
        --platform)
            shift
            platform=${1-none}
            ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
    shift
done
case $platform in
'' | linux-x86_64 | linux-aarch64 | native) ;;
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

name=certgrinderd.pyz
[ -z "$platform" ] || name=certgrinderd-$platform.pyz
if [ -z "$platform" ]; then
    # As Python names what its compiled modules are for.
    case $("$python" -I -c 'import sysconfig; print(sysconfig.get_config_var("MULTIARCH"))') in
        x86_64-linux-gnu) platform=linux-x86_64 ;;
        aarch64-linux-gnu) platform=linux-aarch64 ;;
        *) platform=native ;;
    esac
fi
if [ "$platform" = native ]; then
    printf 'Building for %s alone, since there may be no wheels for this system.\n' \
        "$("$python" -I -c 'import sys; print("%s %d.%d" % (sys.implementation.name, *sys.version_info[:2]))')"
fi

umask 022

temp=
new=
clean_up() {
    status=$?
    trap - EXIT
    [ -z "$new" ] || rm -f -- "$new" "$new.sha256" "$new.cdx.json"
    [ -z "$temp" ] || rm -rf -- "$temp"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM
temp=$(mktemp -d "${TMPDIR:-/tmp}/build_pyz.XXXXXXXX")

# What is compiled for one Python is named after it; the rest serves all, as the oldest gets it.
# Native: the one at hand, whose modules are named by itself.
pythons='3.10 3.11 3.12 3.13 3.14'
multiarch=${platform#linux-}-linux-gnu
if [ "$platform" = native ]; then
    pythons=$("$python" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    multiarch=$("$python" -I -c 'import os, sys, sysconfig
print(sysconfig.get_config_var("MULTIARCH") or os.uname().machine + "-" + sys.platform)')
fi

# Quiet, unless it fails.
run() {
    "$@" >"$temp/log" 2>&1 || {
        cat -- "$temp/log" >&2
        fail "that failed: $*"
    }
}

printf 'Fetching what is locked in build/ …\n'
# -I: nothing from the current folder, PYTHONPATH or the user's own packages.
run "$python" -I -m venv "$temp/venv"
temp=$(cd -- "$temp" && pwd)
cd -- "$root"
run "$temp/venv/bin/python" -I -m pip install --disable-pip-version-check --no-input --no-compile \
    --require-hashes -r build/tools.txt

# One folder for all. pip leaves in it what is there: of later Pythons only new names are added.
mkdir -- "$temp/reports"
install() {
    report=$temp/reports/$1.json
    shift
    run "$temp/venv/bin/python" -I -m pip install --disable-pip-version-check --no-input --no-compile \
        --no-deps --target "$temp/site" --report "$report" "$@"
}
# One package of a lock.
part() {
    sed -n "/^$1==/,/# via/p" "$2" >"$temp/$1.txt"
}
part cffi build/requirements.txt
part shiv build/tools.txt
locked=build/requirements.txt
for version in $pythons; do
    if [ "$platform" = native ]; then
        install "$version" --require-hashes -r "$locked"
    else
        # pip wants the names of all glibc versions that will do. 2.17 is RHEL 7's, 2.28 is RHEL 8's
        # and Debian 10's; what needs a newer one would not run there.
        machine=${platform#linux-}
        install "$version" --require-hashes -r "$locked" --only-binary :all: \
            --implementation cp --python-version "$version" --abi "cp${version%.*}${version#*.}" \
            --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" \
            --platform "manylinux_2_28_$machine"
    fi
    # cffi's module is the only one that each Python needs its own of; build.make_pyz checks that.
    locked=$temp/cffi.txt
done
# For its licence: shiv's own code gets into the file.
install shiv --require-hashes -r "$temp/shiv.txt"
run "$temp/venv/bin/python" -I -m hatchling build -t wheel -d "$temp/own"
install own --no-index "$temp"/own/certgrinderd-*.whl

# Where there is no git, nobody knows; and a change makes it another program than the commit's.
commit=unknown
if [ -e .git ] && command -v git >/dev/null 2>&1; then
    # The checkout may belong to another user.
    git() { command git -c safe.directory='*' "$@"; }
    commit=$(git rev-parse HEAD 2>/dev/null) || commit=unknown
    sources="build build_pyz.sh certgrinderd certgrinderd.conf.dist contrib/completion
        docs/certgrinderd.8 hooks pyproject.toml"
    # shellcheck disable=SC2086 # a list of words
    [ -z "$(git status --porcelain -- $sources 2>/dev/null)" ] ||
        commit="$commit, changed"
fi

printf 'Packing …\n'
mkdir -p -- dist
# In the same folder, so that mv replaces the old file in one step.
new=dist/.new-$name
# -E and -s leave the current folder in: that is where the package `build` is.
run "$temp/venv/bin/python" -E -s -B -m build.make_pyz --site "$temp/site" \
    --reports "$temp/reports" --commit "$commit" --multiarch "$multiarch" --pythons "$pythons" \
    --output "$new"
for suffix in .sha256 .cdx.json ''; do
    mv -f -- "$new$suffix" "dist/$name$suffix"
done
new=
printf '%s: ' "dist/$name"
tail -n 2 -- "$temp/log"
