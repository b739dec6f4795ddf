/*
 * A load generator for HTTP/1.1: one thread, epoll, bodies sent from one block of random bytes and answers dropped in the
 * kernel.  It exists because a client in Python is slower than what is measured here.
 *
 *   load PORT CONNECTIONS REQUESTS BODY-BYTES HEAD-FILE [FILE-BYTES RANGE-BYTES]
 *
 * HEAD-FILE holds a request's head, lines ending in CR LF, the empty line included.  In it, {n} becomes the request's number,
 * counted from 0, padded to eight digits; {range} becomes a random range of RANGE-BYTES within FILE-BYTES, "first-last".
 *
 * Prints one JSON object: what was done, how long it took, the CPU that the generator itself took, and how long answers
 * took to begin and to end, in milliseconds.  An answer that is not 2xx makes the result 1, and its head goes to stderr.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 1 << 20, HEAD = 8192, PIPE = 1 << 20 };

enum state { SENDING_HEAD, SENDING_BODY, READING_HEAD, READING_BODY, CLOSED };

struct connection {
    int fd;
    enum state state;
    char out[HEAD];
    size_t out_length, out_sent;
    uint64_t body_left;
    char in[HEAD];
    size_t in_length;
    uint64_t answer_left;
    int until_chunk_end;
    int closes;
    double started, began;
};

static char block[BLOCK];
static char drain[PIPE];
static char template[HEAD];
static struct sockaddr_in address;
static uint64_t body_bytes, file_bytes, range_bytes;
static uint64_t requests, begun, ended, failed, received;
static double *first_byte, *whole;
static int epoll_fd;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void watch(struct connection *c, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event) < 0)
        die("epoll_ctl");
}

static void replace(char *text, size_t *length, const char *name, const char *value)
{
    char *found;
    size_t old = strlen(name), new = strlen(value);
    while ((found = memmem(text, *length, name, old)) != NULL) {
        if (*length - old + new > HEAD) {
            fprintf(stderr, "the request's head is too long\n");
            exit(2);
        }
        memmove(found + new, found + old, *length - (found - text) - old);
        memcpy(found, value, new);
        *length += new - old;
    }
}

static void connect_anew(struct connection *c)
{
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    watch(c, EPOLLOUT, EPOLL_CTL_ADD);
}

static void begin(struct connection *c)
{
    char number[32], range[64];
    if (begun == requests) {
        c->state = CLOSED;
        close(c->fd);
        return;
    }
    snprintf(number, sizeof number, "%08llu", (unsigned long long)begun++);
    uint64_t first = file_bytes > range_bytes ? (((uint64_t)random() << 31) ^ random()) % (file_bytes - range_bytes) : 0;
    snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)first, (unsigned long long)(first + range_bytes - 1));
    c->out_length = strlen(template);
    memcpy(c->out, template, c->out_length);
    replace(c->out, &c->out_length, "{n}", number);
    replace(c->out, &c->out_length, "{range}", range);
    c->out_sent = 0;
    c->in_length = 0;
    c->body_left = body_bytes;
    c->state = SENDING_HEAD;
    c->started = now();
    c->began = 0;
    if (c->closes) {
        close(c->fd);
        c->closes = 0;
        connect_anew(c);
    } else {
        watch(c, EPOLLOUT, EPOLL_CTL_MOD);
    }
}

static void end(struct connection *c)
{
    double t = now();
    first_byte[ended] = (c->began - c->started) * 1e3;
    whole[ended++] = (t - c->started) * 1e3;
    begin(c);
}

static void send_more(struct connection *c)
{
    while (c->state == SENDING_HEAD) {
        /* A small body goes out with the head, as it does from every client. */
        struct iovec parts[2] = {
            {c->out + c->out_sent, c->out_length - c->out_sent},
            {block, c->body_left < BLOCK ? c->body_left : BLOCK},
        };
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = c->body_left ? 2 : 1};
        ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EAGAIN)
                return;
            die("send");
        }
        size_t of_head = (size_t)sent < parts[0].iov_len ? (size_t)sent : parts[0].iov_len;
        c->out_sent += of_head;
        c->body_left -= sent - of_head;
        if (c->out_sent == c->out_length)
            c->state = c->body_left ? SENDING_BODY : READING_HEAD;
    }
    while (c->state == SENDING_BODY) {
        size_t offset = (body_bytes - c->body_left) % BLOCK;
        size_t size = BLOCK - offset;
        if (size > c->body_left)
            size = c->body_left;
        ssize_t sent = send(c->fd, block + offset, size, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EAGAIN)
                return;
            if (errno != EPIPE && errno != ECONNRESET)
                die("send");
            c->state = READING_HEAD;
            break;
        }
        c->body_left -= sent;
        if (c->body_left == 0)
            c->state = READING_HEAD;
    }
    watch(c, EPOLLIN, EPOLL_CTL_MOD);
}

static int parse_head(struct connection *c)
{
    char *stop = memmem(c->in, c->in_length, "\r\n\r\n", 4);
    if (stop == NULL)
        return 0;
    *stop = 0;
    size_t head = stop + 4 - c->in;
    char *length = strcasestr(c->in, "\r\ncontent-length:");
    int status = atoi(c->in + 9);
    c->until_chunk_end = strcasestr(c->in, "\r\ntransfer-encoding: chunked") != NULL;
    c->closes = strcasestr(c->in, "\r\nconnection: close") != NULL;
    c->answer_left = length ? strtoull(length + 17, NULL, 10) : 0;
    if (status < 200 || status > 299) {
        if (failed++ == 0)
            fprintf(stderr, "%s\n", c->in);
        c->closes = 1;
    }
    uint64_t more = c->in_length - head;
    received += more;
    if (c->until_chunk_end) {
        /* Only empty answers come so here. */
        c->answer_left = more >= 5 && memcmp(c->in + c->in_length - 5, "0\r\n\r\n", 5) == 0 ? 0 : 1;
    } else {
        c->answer_left -= more < c->answer_left ? more : c->answer_left;
    }
    c->state = READING_BODY;
    return 1;
}

static void read_more(struct connection *c)
{
    for (;;) {
        if (c->state == READING_HEAD) {
            ssize_t got = recv(c->fd, c->in + c->in_length, HEAD - 1 - c->in_length, 0);
            if (got < 0) {
                if (errno == EAGAIN)
                    return;
                die("receive");
            }
            if (got == 0) {
                fprintf(stderr, "the server closed the connection without an answer\n");
                exit(1);
            }
            if (c->began == 0)
                c->began = now();
            c->in_length += got;
            c->in[c->in_length] = 0;
            parse_head(c);
        } else if (c->answer_left > 0) {
            ssize_t got = recv(c->fd, drain, PIPE, c->until_chunk_end ? 0 : MSG_TRUNC);
            if (got < 0) {
                if (errno == EAGAIN)
                    return;
                die("receive");
            }
            if (got == 0) {
                fprintf(stderr, "the server closed the connection within an answer\n");
                exit(1);
            }
            received += got;
            if (c->until_chunk_end)
                c->answer_left = got >= 5 && memcmp(drain + got - 5, "0\r\n\r\n", 5) == 0 ? 0 : 1;
            else
                c->answer_left -= (uint64_t)got < c->answer_left ? (uint64_t)got : c->answer_left;
        }
        if (c->state == READING_BODY && c->answer_left == 0) {
            end(c);
            return;
        }
    }
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_spread(const char *name, double *values)
{
    qsort(values, ended, sizeof *values, by_size);
    printf("\"%s\": {\"p50\": %.4f, \"p90\": %.4f, \"p99\": %.4f, \"max\": %.4f}", name, values[ended / 2],
           values[ended * 9 / 10], values[ended * 99 / 100], values[ended - 1]);
}

int main(int argc, char **argv)
{
    if (argc != 6 && argc != 8) {
        fprintf(stderr, "load PORT CONNECTIONS REQUESTS BODY-BYTES HEAD-FILE [FILE-BYTES RANGE-BYTES]\n");
        return 2;
    }
    int count = atoi(argv[2]);
    requests = strtoull(argv[3], NULL, 10);
    body_bytes = strtoull(argv[4], NULL, 10);
    if (argc == 8) {
        file_bytes = strtoull(argv[6], NULL, 10);
        range_bytes = strtoull(argv[7], NULL, 10);
    }
    FILE *head = fopen(argv[5], "r");
    if (head == NULL)
        die(argv[5]);
    template[fread(template, 1, HEAD - 1, head)] = 0;
    fclose(head);
    for (size_t filled = 0; filled < BLOCK;) {
        ssize_t got = getrandom(block + filled, BLOCK - filled, 0);
        if (got < 0)
            die("getrandom");
        filled += got;
    }
    address.sin_family = AF_INET;
    address.sin_port = htons(atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    first_byte = calloc(requests, sizeof *first_byte);
    whole = calloc(requests, sizeof *whole);
    struct connection *all = calloc(count, sizeof *all);
    epoll_fd = epoll_create1(0);
    if (first_byte == NULL || whole == NULL || all == NULL || epoll_fd < 0)
        die("start");
    for (int i = 0; i < count; i++)
        connect_anew(&all[i]);
    double started = now();
    for (int i = 0; i < count; i++)
        begin(&all[i]);
    while (ended < requests) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll_fd, events, 256, 60000);
        if (ready < 0 && errno != EINTR)
            die("epoll_wait");
        if (ready == 0) {
            fprintf(stderr, "no answer for a minute\n");
            return 1;
        }
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->state == SENDING_HEAD || c->state == SENDING_BODY)
                send_more(c);
            else if (c->state != CLOSED)
                read_more(c);
        }
    }
    double seconds = now() - started;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"requests\": %llu, \"failed\": %llu, \"sent_bytes\": %llu, \"received_bytes\": %llu, \"seconds\": %.6f, ",
           (unsigned long long)ended, (unsigned long long)failed, (unsigned long long)(ended * body_bytes),
           (unsigned long long)received, seconds);
    printf("\"cpu_seconds\": %.6f, ", usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    print_spread("first_byte_ms", first_byte);
    printf(", ");
    print_spread("whole_ms", whole);
    printf("}\n");
    return failed ? 1 : 0;
}
