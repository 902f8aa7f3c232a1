#!/bin/bash
# tools/install-packages: asks for nothing when everything is there, and says clearly what to do when it cannot help.
# A compiler that no system has plays the missing package; apt-get, id and sudo are played by scripts of our own.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/checks/checks.inc

mkdir "$work/bin"
play() { printf '#!/bin/bash\n%s\n' "$2" >"$work/bin/$1"; chmod +x "$work/bin/$1"; }
script=$PWD/tools/install-packages
run() { env PATH="$work/bin" CC="${compiler:-cc}" "$script" "$@" </dev/null 2>&1; }
for tool in bash env sed sort paste cat mktemp grep head rm cc pkg-config python3; do ln -s "$(command -v "$tool")" "$work/bin/$tool"; done

# A system without apt.
check "all is there: nothing to install" run build test
equal "all is there: nothing is said" "" "$(run --check build test)"
compiler=absent-cc
contains "what is missing is named" "Missing: gcc" "$(run --check build)"
contains "a system without apt" "no apt-get" "$(run build)"
check "exit status when something is missing" bash -c "! env PATH='$work/bin' CC=absent-cc '$script' build"

# With apt, as root and not. The first install fails, as on a machine that never fetched the package lists.
play id 'echo 0'
play apt-get "while [ \"\${1#-}\" != \"\$1\" ]; do [ \"\$1\" = -o ] && shift; shift; done
echo \"\$1\" >>'$work/log'
case \$1 in update) touch '$work/updated' ;; install) [ -e '$work/updated' ] || { echo 'E: Unable to locate package'; exit 100; }
  printf '#!/bin/bash\n' >'$work/bin/absent-cc'; chmod 755 '$work/bin/absent-cc' ;; esac"
ln -s "$(command -v chmod)" "$(command -v touch)" "$work/bin"
equal "as root" "Installing what is missing: gcc" "$(run build)"
equal "what apt-get was asked" "install update install" "$(xargs <"$work/log")"
rm "$work/log"
check "a second time" run build
check "asks apt-get nothing" [ ! -e "$work/log" ]

rm "$work/bin/absent-cc"
play id 'echo 1000'
contains "an ordinary user without sudo" "no sudo" "$(run build)"
play sudo "echo \"sudo \$1\" >>'$work/log'; shift; \"\$@\""
equal "an ordinary user with sudo" "Installing what is missing: gcc" "$(run build)"
equal "what was asked then" "sudo -n install" "$(xargs <"$work/log")"

rm "$work/bin/absent-cc" "$work/updated"
play apt-get "echo 'E: The network is unreachable'; exit 100"
contains "no network: why" "The network is unreachable" "$(run build)"
contains "no network: what to do" "sudo apt-get install gcc" "$(run build)"
finish
