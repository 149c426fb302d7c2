#!/bin/sh
#
# manual-cleanup-hook.sh: remove the challenge that manual-auth-hook.sh published.
#
# It runs manual-auth-hook.sh in the same folder; see the top of that file for the variables and the
# exit status. It removes one TXT value or one file: the one that its auth call added. If that no
# longer exists, it exits with 0 too.

set -eu

set -- remove
# shellcheck source=hooks/manual-auth-hook.sh
. "${0%"${0##*/}"}./manual-auth-hook.sh"
