/* Private between stream.c (life, reading, events) and stream_out.c (writing). */
#ifndef GATEPOST_PROXY_STREAM_PRIVATE_H
#define GATEPOST_PROXY_STREAM_PRIVATE_H

#include "proxy/stream.h"

/* stream.c */
void stream_event_begin(struct stream *stream);
void stream_event_end(struct stream *stream);  /* decides about polling, sends what gathered */
void stream_tell_later(struct stream *stream); /* a write error: `end` comes, now or from reading */
void stream_wake_loop(struct stream_loop *loop);

/* stream_out.c */
void stream_loop_flush(struct stream_loop *loop);
void stream_drop_gathered(struct stream *stream);
void stream_drop_waiting(struct stream *stream);
void stream_free_requests(struct stream_loop *loop);
void stream_send_fin(struct stream *stream);

#endif
