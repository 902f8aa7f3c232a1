/* Exercise 34: the client that believes everybody.
 *
 * At two addresses somebody says that he is bank.example. One is. The client has been told by somebody in a hurry to check nothing, "because of the errors", and so
 * it sends its PIN to both:
 *
 *     bank: b'thank you for 1234\n'
 *     other: b'thank you for 1234\n'
 *
 * All of it encrypted, and read by a thief. Wanted:
 *
 *     bank: b'thank you for 1234\n'
 *     other: refused
 *
 * careful_context() is yours. The bank has given you its certificate, the file `bank`.
 */
#include "asyncio.h"
#include <stdlib.h>
#include <unistd.h>

static char directory[] = "/tmp/asyncio-lesson-XXXXXX";
static char bank[80], thief[80];                        /* each a certificate with its key, in one file */

static SSLContext *careful_context(void)
{
    SSLContext *context = ssl_create_default_context(); /* >>> whom to believe? */
    sslcontext_set_check_hostname(context, false);      /* >>> and this? */
    sslcontext_set_verify_mode(context, CERT_NONE);
    return context;
}

async_def(pay, (const char *) who, (Server *) server)
{
    int port = (int)as_int(list_get(list_get(list_get(server_sockets(server), 0), 1), 1));
    try {
        Value both = await(asyncio_open_connection("127.0.0.1", port, .ssl = V(careful_context()), .server_hostname = "bank.example"));
        streamwriter_write(as_streamwriter(list_get(both, 1)), "1234\n");
        print(format("%s:", who), await(streamreader_readline(as_streamreader(list_get(both, 0)))));
        streamwriter_close(as_streamwriter(list_get(both, 1)));
        await(streamwriter_wait_closed(as_streamwriter(list_get(both, 1))));
    } except (SSLCertVerificationError) {
        print(format("%s: refused", who));
    } end_try
    return None;
}

/* ---- the two servers; nothing to change from here on ---- */

async_def(serve, (StreamReader *) reader, (StreamWriter *) writer)
{
    async_for (pin, reader) streamwriter_writelines(writer, list(bytes("thank you for ", 14), pin));
    streamwriter_close(writer);
    return None;
}

static Coroutine *start(const char *file)
{
    SSLContext *context = ssl_create_default_context(.purpose = CLIENT_AUTH);
    sslcontext_load_cert_chain(context, file);
    return asyncio_start_server(serve, "127.0.0.1", 0, .ssl = V(context));
}

async_def(main_)
{
    Server *first = as_server(await(start(bank))), *second = as_server(await(start(thief)));
    async_with (first) {
        async_with (second) {
            await(pay("bank", first));
            await(pay("other", second));
        } end_with
    } end_with
    return None;
}

static void make_certificate(char *file, size_t size, const char *name)
{
    char command[400];
    snprintf(file, size, "%s/%s.pem", directory, name);
    snprintf(command, sizeof command, "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=%s "
             "-addext subjectAltName=DNS:bank.example -out %s -keyout - >>%s 2>/dev/null", name, file, file);
    if (system(command) != 0) throw(RuntimeError, "the command openssl is needed to make a certificate");
}

int main(void)
{
    if (!mkdtemp(directory)) throw(OSError, "no directory for the certificates");
    make_certificate(bank, sizeof bank, "bank");
    make_certificate(thief, sizeof thief, "thief");
    try {
        asyncio_run(main_());
    } finally {
        unlink(bank);
        unlink(thief);
        rmdir(directory);
    } end_try
}
