/* Lesson 34: the same streams over TLS. Who is at the other end, and who says so? */
#include "asyncio.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A certificate for localhost, which nobody has signed but itself. */

static char directory[] = "/tmp/asyncio-lesson-XXXXXX";
static char certificate[80], key[80];

static void make_certificate(void)
{
    char command[500];
    if (!mkdtemp(directory)) throw(OSError, "no directory for the certificate");
    snprintf(certificate, sizeof certificate, "%s/certificate.pem", directory);
    snprintf(key, sizeof key, "%s/key.pem", directory);
    snprintf(command, sizeof command, "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
             "-addext subjectAltName=DNS:localhost -out %s -keyout %s 2>/dev/null", certificate, key);
    if (system(command) != 0) throw(RuntimeError, "the command openssl is needed to make a certificate");
}

static void remove_certificate(void)
{
    unlink(certificate);
    unlink(key);
    rmdir(directory);
}

static SSLContext *server_context, *client_context;

/* The server knows nothing of TLS, but for the one line of those who change over in the middle. */

async_def(serve, (StreamReader *) reader, (StreamWriter *) writer)
{
    async_for (line, reader) {
        if (!strcmp(as_bytes(line, NULL), "STARTTLS\n")) {
            streamwriter_write(writer, "go ahead\n");
            await(streamwriter_start_tls(writer, server_context));
        } else streamwriter_writelines(writer, list(bytes("you said ", 9), line));
    }
    streamwriter_close(writer);
    return None;
}

static int port_of(Server *server) { return (int)as_int(list_get(list_get(list_get(server_sockets(server), 0), 1), 1)); }

async_def(say, (Value) both, (const char *) line)
{
    streamwriter_write(as_streamwriter(list_get(both, 1)), line);
    return await(streamreader_readline(as_streamreader(list_get(both, 0))));
}

async_def(hang_up, (Value) both)
{
    streamwriter_close(as_streamwriter(list_get(both, 1)));
    await(streamwriter_wait_closed(as_streamwriter(list_get(both, 1))));
    return None;
}

static Value ssl_object_of(Value both)
{
    return streamwriter_get_extra_info(as_streamwriter(list_get(both, 1)), "ssl_object");
}

static Value subject_of(SSLObject *ssl)
{
    for_in (pair, sslobject_getpeercert(ssl)) if (value_equal(list_get(pair, 0), V("subject"))) return list_get(pair, 1);
    return None;
}

async_def(over_tls, (int) port)
{
    Value both = await(asyncio_open_connection("127.0.0.1", port, .ssl = V(client_context), .server_hostname = "localhost"));
    SSLObject *ssl = as_sslobject(ssl_object_of(both));
    print(" ", sslobject_version(ssl), "with", subject_of(ssl));
    print(" ", await(say(both, "hello\n")));
    await(hang_up(both));
    return None;
}

async_def(refused, (int) port, (SSLContext *) context, (const char *) name)
{
    try {
        await(asyncio_open_connection("127.0.0.1", port, .ssl = V(context), .server_hostname = name));
    } except (SSLCertVerificationError, e) {
        print(" ", list_get(exception_details(e), -1));
    } end_try
    return None;
}

async_def(in_the_middle, (int) port)
{
    Value both = await(asyncio_open_connection("127.0.0.1", port));
    print(" ", await(say(both, "hello\n")), "- ssl_object:", ssl_object_of(both));
    print(" ", await(say(both, "STARTTLS\n")));
    await(streamwriter_start_tls(as_streamwriter(list_get(both, 1)), client_context, .server_hostname = "localhost"));
    print(" ", await(say(both, "a secret\n")), "-", sslobject_version(as_sslobject(ssl_object_of(both))));
    await(hang_up(both));
    return None;
}

async_def(main_)
{
    server_context = ssl_create_default_context(.purpose = CLIENT_AUTH);
    sslcontext_load_cert_chain(server_context, certificate, .keyfile = key);
    client_context = ssl_create_default_context(.cafile = certificate);  /* whom to believe */
    Server *secure = as_server(await(asyncio_start_server(serve, "127.0.0.1", 0, .ssl = V(server_context))));
    Server *plain = as_server(await(asyncio_start_server(serve, "127.0.0.1", 0)));

    print("over TLS");
    await(over_tls(port_of(secure)));
    print("nobody vouches for this certificate");
    await(refused(port_of(secure), ssl_create_default_context(), "localhost"));
    print("it is somebody else's");
    await(refused(port_of(secure), client_context, "elsewhere.example"));
    print("from plain to TLS in the middle");
    await(in_the_middle(port_of(plain)));

    server_close(secure);
    server_close(plain);
    await(asyncio_gather(server_wait_closed(secure), server_wait_closed(plain)));
    return None;
}

int main(void)
{
    make_certificate();
    try {
        asyncio_run(main_());
    } finally {
        remove_certificate();
    } end_try
}
