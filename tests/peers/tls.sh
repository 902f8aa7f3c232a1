#!/bin/bash
# TLS with those who have not been written by us: the command openssl, CPython's asyncio, nginx; each as server and, where it can be one, as client.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/checks/checks.inc
servers=()
trap 'kill "${servers[@]}" 2>/dev/null; rm -rf "$work"' EXIT

skip() { echo "$0: SKIPPED, $*"; }
if ! command -v openssl >/dev/null || ! pkg-config --exists openssl; then skip "OpenSSL (Debian's openssl, libssl-dev) is not installed"; finish; fi

ours=build/tests/peers/tls
tests/certificates "$work" || exit 1
ca=$work/ca.pem
lines=(hello "a second line" "$(printf '%5000s' '' | tr ' ' x)" bye)
answers=$(printf '%s\n' "${lines[@]}")
verify_failed="[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed:"

# start COMMAND...: a server that says which port it has; $port afterwards
start() {
  local log=$work/server.${#servers[@]}
  "$@" >"$log" 2>&1 &
  servers+=($!)
  for _ in {1..1000}; do
    port=$(sed -n 's/^port \([0-9]*\)$/\1/p; s/^ACCEPT .*:\([0-9]*\)$/\1/p' "$log" | head -1)
    [ -n "$port" ] && return
    sleep 0.01
  done
  fail "$*: no port"; cat "$log"
}

# ---- our client ----

# s_server -rev sends each line back, turned round.
openssl_server() { start openssl s_server -accept 127.0.0.1:0 -rev -cert "$work/$1.crt" -key "$work/$1.key" "${@:2}"; }
turned=$(printf '%s\n' "${lines[@]:0:3}" | rev)
for version in "" -tls1_2 -tls1_3; do
  openssl_server localhost $version
  equal "our client, openssl s_server $version" "$turned" "$($ours connect "$port" localhost "$ca" "${lines[@]:0:3}")"
done
equal "a name that is not in the certificate" "$verify_failed Hostname mismatch, certificate is not valid for 'elsewhere.example'." \
  "$($ours connect "$port" elsewhere.example "$ca" hello)"
equal "an authority that is not known" "$verify_failed unable to get local issuer certificate" \
  "$($ours connect "$port" localhost "$work/other.crt" hello)"
openssl_server other
equal "another host's certificate" "$verify_failed Hostname mismatch, certificate is not valid for 'localhost'." "$($ours connect "$port" localhost "$ca" hello)"
openssl_server expired
equal "an expired certificate" "$verify_failed certificate has expired" "$($ours connect "$port" localhost "$ca" hello)"
openssl_server localhost -tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256
equal "a cipher of its choice" "$turned" "$($ours connect "$port" localhost "$ca" "${lines[@]:0:3}")"

# ---- our server ----

openssl_client() { printf '%s\n' "${lines[@]}" | openssl s_client -quiet -connect "127.0.0.1:$port" -CAfile "$ca" -verify_return_error -verify_hostname localhost "$@" 2>"$work/said"; }
start $ours serve "$work/localhost.pem"
for version in "" -tls1_2 -tls1_3; do
  equal "openssl s_client $version, our server" "$answers" "$(openssl_client $version)"
done
equal "openssl s_client that is too old" "" "$(openssl_client -tls1_1 -cipher DEFAULT@SECLEVEL=0)"
for bad in other expired; do
  start $ours serve "$work/$bad.pem"
  equal "openssl s_client refuses our certificate: $bad" "" "$(openssl_client)"
  contains "and says why: $bad" "verify error" "$(cat "$work/said")"
done

# ---- CPython ----

python=${PYTHON:-python3}
"$python" -c 'import ssl, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || python=''
if [ -z "$python" ]; then skip "there is no Python 3.11"; else
  start "$python" tests/peers/tls.py serve "$work/localhost.pem"
  equal "our client, CPython's server" "$answers" "$($ours connect "$port" localhost "$ca" "${lines[@]}")"
  equal "the same name is refused" "$verify_failed Hostname mismatch, certificate is not valid for 'nobody'." "$($ours connect "$port" nobody "$ca" hello)"
  equal "CPython says it in the same words" "$($ours connect "$port" nobody "$ca" hello)" \
    "$("$python" tests/peers/tls.py connect "$port" nobody "$ca" hello | sed 's/ (_ssl.c:[0-9]*)$//')"
  start $ours serve "$work/localhost.pem"
  equal "CPython's client, our server" "$answers" "$("$python" tests/peers/tls.py connect "$port" localhost "$ca" "${lines[@]}")"
  start "$python" tests/peers/tls.py serve "$work/localhost.pem" starttls
  equal "our client, CPython's server, start_tls" "$answers" "$($ours upgrade "$port" localhost "$ca" "${lines[@]}")"
  start $ours serve "$work/localhost.pem" starttls
  equal "CPython's client, our server, start_tls" "$answers" "$("$python" tests/peers/tls.py upgrade "$port" localhost "$ca" "${lines[@]}")"
fi

# ---- nginx ----

nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || { skip "nginx (Debian's nginx-light) is not installed"; finish; }
mkdir "$work/web"
head -c 3000000 /dev/urandom | base64 >"$work/web/large.txt"
echo small >"$work/web/small.txt"
chmod -R a+rX "$work"
port=$("${python:-python3}" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/nginx.conf" <<END
daemon off;
pid $work/nginx.pid;
error_log $work/nginx.log;
events { }
http {
  access_log off;
  client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/fastcgi; uwsgi_temp_path $work/uwsgi; scgi_temp_path $work/scgi;
  server { listen 127.0.0.1:$port ssl; ssl_certificate $work/localhost.crt; ssl_certificate_key $work/localhost.key; root $work/web; }
}
END
"$nginx" -p "$work" -c "$work/nginx.conf" -e "$work/nginx.log" >"$work/nginx.out" 2>&1 &
servers+=($!)
for _ in {1..1000}; do (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.01; done
equal "our client fetches from nginx, three times over one connection" "$(cat "$work"/web/{large,small,large}.txt | md5sum)" \
  "$($ours fetch "$port" localhost "$ca" /large.txt /small.txt /large.txt | md5sum)"
equal "nginx under another name" "$verify_failed Hostname mismatch, certificate is not valid for 'nginx.example'." "$($ours fetch "$port" nginx.example "$ca" /small.txt)"
finish
