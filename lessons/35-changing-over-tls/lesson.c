/* Lesson 35: a connection is a transport and a protocol. Can each be exchanged while it is open? */
#include "asyncio.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static Loop *loop;
static SSLContext *server_context, *client_context;

typedef struct Session { Transport *transport; char data[16]; size_t have, wanted; } Session;

static void answer(Session *session, Value text) { transport_write(session->transport, as_str(text), (size_t)len(text)); }

/* The first protocol talks: a line comes, a line goes. The second takes: it gives the loop the place where the bytes shall
 * be put, and hears how many have come. */

static const Protocol talk, take;

static void take_begins(Session *session)
{
    session->have = 0;
    transport_set_protocol(session->transport, &take, V((void *)session));
    answer(session, format("ready for %zu\n", session->wanted));
}

static char *take_here(Value self, size_t hint, size_t *size)
{
    (void)hint;
    Session *session = as_pointer(self);
    *size = session->wanted - session->have;
    return session->data + session->have;
}

static void taken(Value self, size_t size)
{
    Session *session = as_pointer(self);
    session->have += size;
    print(format("    server: take: %zu bytes, buffer_updated", size));
    if (session->have == session->wanted) transport_set_protocol(session->transport, &talk, self);
    answer(session, format("%zu of %zu\n", session->have, session->wanted));
}

static const Protocol take = {.get_buffer = take_here, .buffer_updated = taken};

/* Nobody calls connection_made() a second time: who exchanges the transport notes the new one. */

async_def(change_over, (Session *) session)
{
    answer(session, V("go ahead\n"));
    Value secure = await(loop_start_tls(loop, session->transport, &talk, (void *)session, server_context, .server_side = true));
    session->transport = as_transport(secure);
    answer(session, V("nobody hears us now\n"));
    return None;
}

static void met(Value self, Transport *transport)
{
    print("    server: talk: connection_made");
    ((Session *)as_pointer(self))->transport = transport;
}

static void told(Value self, const char *data, size_t size)
{
    Session *session = as_pointer(self);
    Value line = format("%.*s", (int)size - 1, data);  /* whole lines come, as the client waits for each answer */
    print("    server: talk: data_received", bytes(data, size));
    if (sscanf(as_str(line), "take %2zu", &session->wanted) == 1) take_begins(session);
    else if (!strcmp(as_str(line), "tls")) asyncio_create_task(change_over(session));
    else answer(session, format("you said %s\n", as_str(line)));
}

static const Protocol talk = {.connection_made = met, .data_received = told};

/* The client's protocol has a Queue as its self. */

static void heard(Value answers, const char *data, size_t size) { queue_put_nowait(as_queue(answers), bytes(data, size)); }

static const Protocol listener = {.data_received = heard};

async_def(say, (Transport *) transport, (const char *) text, (Queue *) answers)
{
    transport_write(transport, text, strlen(text));
    print("  client: heard", await(queue_get(answers)));
    return None;
}

async_def(client, (const char *) path)
{
    Queue *answers = asyncio_Queue();
    Value both = await(loop_create_unix_connection(loop, &listener, answers, path));
    Transport *plain = as_transport(list_get(both, 0));
    print("a transport, a protocol");
    await(say(plain, "hello\n", answers));

    print("the same transport, another protocol");
    await(say(plain, "take 10\n", answers));
    await(say(plain, "0123", answers));
    await(say(plain, "456789", answers));
    await(say(plain, "hello\n", answers));

    print("the same protocol, another transport");
    await(say(plain, "tls\n", answers));
    Value changed = await(loop_start_tls(loop, plain, &listener, answers, client_context, .server_hostname = "localhost"));
    Transport *secure = as_transport(changed);
    print("  client: heard", await(queue_get(answers)));
    await(say(secure, "a secret\n", answers));
    SSLObject *ssl = as_sslobject(transport_get_extra_info(secure, "ssl_object"));
    bool same = value_equal(transport_get_extra_info(secure, "socket"), transport_get_extra_info(plain, "socket"));
    print("  client:", sslobject_version(ssl), "- on the same socket:", same);

    print("and both");
    await(say(secure, "take 4\n", answers));
    await(say(secure, "6789", answers));
    transport_close(secure);
    print("  client: closing:", transport_is_closing(secure));
    return None;
}

async_def(main_, (const char *) path, (const char *) certificate, (const char *) key)
{
    static Session session;
    loop = asyncio_get_running_loop();
    server_context = ssl_create_default_context(.purpose = CLIENT_AUTH);
    sslcontext_load_cert_chain(server_context, certificate, .keyfile = key);
    client_context = ssl_create_default_context(.cafile = certificate);
    Server *server = as_server(await(loop_create_unix_server(loop, &talk, (void *)&session, path)));
    await(client(path));
    server_close(server);
    await(server_wait_closed(server));
    print("it held", bytes(session.data, session.have), "at the end");
    return None;
}

/* A certificate for localhost, as in lesson 34. */

int main(void)
{
    char directory[] = "/tmp/asyncio-lesson-XXXXXX", path[80], certificate[80], key[80], command[500];
    if (!mkdtemp(directory)) throw(OSError, "no directory for the socket");
    snprintf(path, sizeof path, "%s/socket", directory);
    snprintf(certificate, sizeof certificate, "%s/certificate.pem", directory);
    snprintf(key, sizeof key, "%s/key.pem", directory);
    snprintf(command, sizeof command, "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
             "-addext subjectAltName=DNS:localhost -out %s -keyout %s 2>/dev/null", certificate, key);
    if (system(command) != 0) throw(RuntimeError, "the command openssl is needed to make a certificate");
    try {
        asyncio_run(main_(path, certificate, key));
    } finally {
        unlink(certificate);
        unlink(key);
        rmdir(directory);
    } end_try
}
