/* What the tests of TLS share: certificates, contexts that use them, and peers that know OpenSSL and nothing of asyncio.
 *
 * The certificates are made when a test program starts, by tests/certificates, and go when it ends.
 */
#ifndef TLS_H
#define TLS_H

#include "cpython/cpython_io.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/wait.h>

static char certificates_[40] = "/tmp/asyncio-test-XXXXXX";
static pid_t certificates_owner_;

static int run_(const char *what, const char *with)
{
    char command[512];
    snprintf(command, sizeof command, what, (int)(strlen(__FILE__) - strlen("tls.h")), __FILE__, with);
    return system(command);
}

/* Before main(), so that the processes of the tests find them. */
__attribute__((constructor)) static void certificates_make_(void)
{
    certificates_owner_ = getpid();
    signal(SIGPIPE, SIG_IGN);
    if (!mkdtemp(certificates_) || run_("'%.*scertificates' %s", certificates_)) {
        fprintf(stderr, "tests/certificates has failed: is the command openssl installed?\n");
        exit(1);
    }
}

__attribute__((destructor)) static void certificates_end_(void)
{
    if (getpid() == certificates_owner_ && run_(": '%.*s'; rm -r %s", certificates_)) perror(certificates_);
}

/* Its path; good for the next three calls too. */
static const char *certificate(const char *name)
{
    static char paths[4][80];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s.pem", certificates_, name);
    return path;
}

/* ---- Contexts --------------------------------------------------------------------------------------------------- */

/* A server's, with one of the certificates. */
__attribute__((unused)) static SSLContext *server_context(const char *name)
{
    SSLContext *context = ssl_SSLContext(PROTOCOL_TLS_SERVER);
    sslcontext_load_cert_chain(context, certificate(name));
    return context;
}

/* test_utils.simple_server_sslcontext() */
__attribute__((unused)) static SSLContext *simple_server_context(void) { return server_context("localhost"); }

/* test_utils.simple_client_sslcontext(): believes anybody. */
__attribute__((unused)) static SSLContext *simple_client_context(void)
{
    SSLContext *context = ssl_create_default_context();
    sslcontext_set_check_hostname(context, false);
    sslcontext_set_verify_mode(context, CERT_NONE);
    return context;
}

/* Believes our authority, and looks at names. */
__attribute__((unused)) static SSLContext *client_context(void) { return ssl_create_default_context(.cafile = certificate("ca")); }

/* ---- Peers ------------------------------------------------------------------------------------------------------ */

/* Takes the descriptor over to the other side of TLS; NULL if the handshake fails. */
static SSL *tls_wrap_(int fd, bool server)
{
    SSL_CTX *context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (server) {
        SSL_CTX_use_certificate_chain_file(context, certificate("cert"));
        SSL_CTX_use_PrivateKey_file(context, certificate("key"), SSL_FILETYPE_PEM);
    }
    SSL *ssl = SSL_new(context);
    SSL_CTX_free(context);
    SSL_set_fd(ssl, fd);
    if ((server ? SSL_accept(ssl) : SSL_connect(ssl)) == 1) return ssl;
    SSL_free(ssl);
    return NULL;
}

__attribute__((unused)) static SSL *tls_accept(int fd) { return tls_wrap_(fd, true); }
__attribute__((unused)) static SSL *tls_connect(int fd) { return tls_wrap_(fd, false); }

/* How many of `size` bytes came, all of them the same letter, before the end. */
__attribute__((unused)) static size_t tls_recv(SSL *ssl, size_t size, char letter)
{
    static __thread char block[65536];
    size_t got = 0;
    while (got < size) {
        int n = SSL_read(ssl, block, (int)(size - got < sizeof block ? size - got : sizeof block));
        if (n <= 0) break;
        for (int i = 0; i < n; i++) if (letter && block[i] != letter) return 0;
        got += (size_t)n;
    }
    return got;
}

__attribute__((unused)) static bool tls_send(SSL *ssl, const char *text) { return SSL_write(ssl, text, (int)strlen(text)) == (int)strlen(text); }

/* unwrap(): says goodbye, and waits until the other side has said it too. */
__attribute__((unused)) static bool tls_unwrap(SSL *ssl)
{
    int result = SSL_shutdown(ssl);
    if (result == 0) result = SSL_shutdown(ssl);
    return result == 1;
}

__attribute__((unused)) static size_t recv_plain(int fd, size_t size)
{
    char block[4096];
    size_t got = 0;
    for (ssize_t n; got < size && (n = recv(fd, block, size - got < sizeof block ? size - got : sizeof block, 0)) > 0;) got += (size_t)n;
    return got;
}

/* ---- Words for both sides --------------------------------------------------------------------------------------- */

__attribute__((unused)) static StreamReader *reader_of(Value both) { return as_streamreader(list_get(both, 0)); }
__attribute__((unused)) static StreamWriter *writer_of(Value both) { return as_streamwriter(list_get(both, 1)); }

__attribute__((unused)) static void end_server(Server *server)
{
    server_close(server);
    await(server_wait_closed(server));
}

__attribute__((unused)) static void end_writer(StreamWriter *writer)
{
    streamwriter_close(writer);
    await(streamwriter_wait_closed(writer));
}

/* bytes: n times the letter */
__attribute__((unused)) static Value letters(char letter, size_t n)
{
    char *text = malloc(n);
    memset(text, letter, n);
    Value data = bytes(text, n);
    free(text);
    return data;
}

__attribute__((unused)) static bool only_letters(Value data, char letter, size_t n)
{
    const char *text = as_bytes(data, NULL);
    for (size_t i = 0; i < n; i++) if (text[i] != letter) return false;
    return (size_t)len(data) == n;
}

#endif
