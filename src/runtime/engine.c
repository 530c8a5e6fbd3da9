/*
 * engine.c - the engine's thread: admit, choose a batch, run it, draw, emit; and again.
 *
 * A step takes the next token of every request that is generating, then as much of the waiting prompts as the row
 * budget still holds, oldest admission first. When pages run out the request that was admitted last is put back: what
 * it computed stays in the prefix index while there is room, its text and its random draws go on where they stopped.
 */
#include "runtime/engine.h"

#include "core/clock.h"
#include "runtime/engine_request.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct Engine {
    Runner *runner;
    GuideWorker *guides; /* makes masks while the runner computes */
    const Model *model;
    const Tokenizer *tokenizer;
    int32_t n_drawable, max_sequences, budget, context, max_waiting;
    /* The thread's own. */
    Request **running; /* [max_sequences], in order of admission */
    int32_t n_running;
    StepInput *inputs;  /* [max_sequences] */
    Request **stepping; /* [max_sequences]: whose input that is */
    float *logits;      /* [max_sequences][n_vocab] */
    SampleRow *samples; /* [max_sequences], of the step's logits in order, as are the results */
    SampleResult *sampled;
    float *hidden;      /* [budget][n_embd] */
    uint64_t admissions;
    /* Shared, under the mutex. */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_t thread;
    bool thread_started, stop;
    Request *waiting; /* highest priority first, then by arrival */
    Request *moving;  /* on its way between waiting and running */
    uint64_t next_id;
    ImpEngineStats stats;
};

/* ---- the queue ---- */

/* Behind all of the same or a higher priority; in front of those of the same when it was put back. */
static void enqueue(Engine *engine, Request *request)
{
    Request **link = &engine->waiting;
    const int32_t priority = request->given.priority;
    while (*link != NULL &&
           ((*link)->given.priority > priority || ((*link)->given.priority == priority && (*link)->id < request->id)))
        link = &(*link)->next;
    request->next = *link;
    *link = request;
    engine->stats.waiting++;
}

static Request *dequeue(Engine *engine, Request *request)
{
    Request **link = &engine->waiting;
    while (*link != request) link = &(*link)->next;
    *link = request->next;
    request->next = NULL;
    engine->stats.waiting--;
    return request;
}

ImpStatus engine_submit(Engine *engine, const EngineRequest *given, uint64_t *id)
{
    Request *request;
    IMP_TRY(
        request_create(given, engine->tokenizer, engine->n_drawable, engine->model->n_embd, engine->context, &request));
    pthread_mutex_lock(&engine->mutex);
    const bool stopped = engine->stop, full = stopped || engine->stats.waiting >= engine->max_waiting;
    if (!full) {
        request->id = *id = ++engine->next_id;
        enqueue(engine, request);
        pthread_cond_signal(&engine->wake);
    }
    pthread_mutex_unlock(&engine->mutex);
    if (!full) return IMP_OK;
    request_free(request);
    if (stopped) return imp_fail(IMP_ERR_LIMIT, "the engine has been stopped");
    return imp_fail(IMP_ERR_LIMIT, "%d requests are waiting already", (int)engine->max_waiting);
}

void engine_cancel(Engine *engine, uint64_t id)
{
    pthread_mutex_lock(&engine->mutex);
    for (Request *request = engine->waiting; request != NULL; request = request->next)
        if (request->id == id) atomic_store(&request->cancelled, true);
    for (int32_t i = 0; i < engine->n_running; i++)
        if (engine->running[i]->id == id) atomic_store(&engine->running[i]->cancelled, true);
    if (engine->moving != NULL && engine->moving->id == id) atomic_store(&engine->moving->cancelled, true);
    pthread_cond_signal(&engine->wake);
    pthread_mutex_unlock(&engine->mutex);
}

/* ---- the ends of a request ---- */

static void count_end(Engine *engine, const Request *request, uint64_t *counter)
{
    pthread_mutex_lock(&engine->mutex);
    (*counter)++;
    engine->stats.prompt_tokens += (uint64_t)request->given.n_tokens;
    engine->stats.cached_tokens += (uint64_t)request->n_cached;
    pthread_mutex_unlock(&engine->mutex);
}

/* Takes a request out of those that run; its pages are free or in the index from here on. */
static void leave(Engine *engine, Request *request)
{
    if (request->sequence < 0) return;
    kv_sequence_close(runner_kv(engine->runner), request->sequence);
    request->sequence = -1;
    pthread_mutex_lock(&engine->mutex);
    int32_t at = 0;
    while (engine->running[at] != request) at++;
    engine->n_running--;
    memmove(&engine->running[at], &engine->running[at + 1], (size_t)(engine->n_running - at) * sizeof(Request *));
    engine->stats.running = engine->n_running;
    pthread_mutex_unlock(&engine->mutex);
}

static void finish(Engine *engine, Request *request, ImpStopReason reason, int32_t stop_index)
{
    leave(engine, request);
    count_end(engine, request, reason == IMP_STOP_CANCELLED ? &engine->stats.cancelled : &engine->stats.finished);
    request_finish(request, reason, stop_index);
    request_free(request);
}

static void fail(Engine *engine, Request *request, ImpStatus status)
{
    char sentence[1024];
    (void)strncpy(sentence, imp_last_error(), sizeof sentence - 1);
    sentence[sizeof sentence - 1] = '\0';
    leave(engine, request);
    count_end(engine, request, &engine->stats.failed);
    request_fail(request, status, sentence);
    request_free(request);
}

/* Back to the head of its class; nothing that was sent is sent again, because its tokens are kept. */
static void put_back(Engine *engine, Request *request)
{
    pthread_mutex_lock(&engine->mutex);
    engine->moving = request;
    pthread_mutex_unlock(&engine->mutex);
    leave(engine, request);
    request->resumed = true;
    /* An embedding starts over: its rows are all computed again. */
    if (request->embedding != NULL) memset(request->embedding, 0, (size_t)engine->model->n_embd * sizeof(float));
    pthread_mutex_lock(&engine->mutex);
    engine->stats.preempted++;
    engine->moving = NULL;
    enqueue(engine, request);
    pthread_mutex_unlock(&engine->mutex);
}

static bool is_late(const Request *request, double now)
{
    return request->given.timeout_seconds > 0 && now - request->submitted > request->given.timeout_seconds;
}

/* Ends what was cancelled or took too long, waiting or running. */
static void sweep(Engine *engine)
{
    const double now = clock_seconds();
    kv_cache_expire_pins(runner_kv(engine->runner), now);
    for (;;) {
        pthread_mutex_lock(&engine->mutex);
        Request *request = engine->waiting;
        while (request != NULL && !atomic_load(&request->cancelled) && !is_late(request, now)) request = request->next;
        if (request != NULL) (void)dequeue(engine, request);
        pthread_mutex_unlock(&engine->mutex);
        if (request == NULL) break;
        finish(engine, request, IMP_STOP_CANCELLED, -1);
    }
    for (int32_t i = engine->n_running - 1; i >= 0; i--)
        if (atomic_load(&engine->running[i]->cancelled) || is_late(engine->running[i], now))
            finish(engine, engine->running[i], IMP_STOP_CANCELLED, -1);
}

/* ---- admission ---- */

/* Pages of a group that a sequence of n_tokens holds at most, its next token among them. */
static int32_t pages_wanted(const Engine *engine, const PageGroup *group, int32_t n_tokens)
{
    const int32_t windowed = kv_pages_needed(group, n_tokens + 1, engine->budget);
    const int32_t whole = (n_tokens + KV_PAGE_TOKENS) / KV_PAGE_TOKENS;
    return windowed < whole ? windowed : whole;
}

/* Whether the pages that nobody holds can take this request's tokens, what those who run have yet to take for their
 * prompts, and one more page of each. */
static bool has_room(const Engine *engine, const Request *request)
{
    if (engine->n_running == 0) return true;
    const KvCache *kv = runner_kv(engine->runner);
    for (int32_t g = 0; g < engine->model->n_page_groups; g++) {
        const PageGroup *group = &engine->model->page_groups[g];
        int64_t wanted = pages_wanted(engine, group, request->n_tokens) + engine->n_running;
        for (int32_t i = 0; i < engine->n_running; i++) {
            const Request *other = engine->running[i];
            const int32_t held = (kv_sequence_length(kv, other->sequence) + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
            const int32_t promised = pages_wanted(engine, group, other->n_tokens) - held;
            wanted += promised > 0 ? promised : 0;
        }
        if (kv_cache_available_pages(kv, g) < wanted) return false;
    }
    return true;
}

static void admit(Engine *engine)
{
    while (engine->n_running < engine->max_sequences) {
        pthread_mutex_lock(&engine->mutex);
        Request *request = engine->waiting;
        if (request != NULL && !has_room(engine, request)) request = NULL;
        if (request != NULL) engine->moving = dequeue(engine, request);
        pthread_mutex_unlock(&engine->mutex);
        if (request == NULL) return;
        if (kv_sequence_open(runner_kv(engine->runner), &request->sequence) != IMP_OK) {
            pthread_mutex_lock(&engine->mutex);
            engine->moving = NULL;
            pthread_mutex_unlock(&engine->mutex);
            fail(engine, request, IMP_ERR_INTERNAL);
            continue;
        }
        int32_t kept = 0;
        /* An embedding needs every row's hidden state: nothing can be skipped. */
        if (!request->given.embedding)
            kept = runner_start(engine->runner, request->sequence, request->tokens, request->n_tokens);
        if (!request->resumed) {
            request->n_cached = kept;
            request->started = clock_seconds();
        }
        guide_prepare(&request->guide, engine->guides);
        pthread_mutex_lock(&engine->mutex);
        request->admitted = ++engine->admissions;
        engine->moving = NULL;
        engine->running[engine->n_running++] = request;
        engine->stats.running = engine->n_running;
        pthread_mutex_unlock(&engine->mutex);
    }
}

/* ---- a step ---- */

static void add_input(Engine *engine, int32_t *count, Request *request, int32_t n_tokens)
{
    const int32_t done = kv_sequence_length(runner_kv(engine->runner), request->sequence);
    const bool whole = done + n_tokens == request->n_tokens;
    engine->stepping[*count] = request;
    engine->inputs[(*count)++] = (StepInput){.sequence = request->sequence,
                                             .tokens = request->tokens + done,
                                             .n_tokens = n_tokens,
                                             .n_logits = whole && !request->given.embedding};
}

/* Single tokens first, then prompts in the order of their admission. */
static int32_t choose_batch(Engine *engine)
{
    const KvCache *kv = runner_kv(engine->runner);
    int32_t count = 0, budget = engine->budget;
    for (int32_t i = 0; i < engine->n_running && budget > 0; i++) {
        Request *request = engine->running[i];
        if (request->n_tokens - kv_sequence_length(kv, request->sequence) != 1) continue;
        add_input(engine, &count, request, 1);
        budget--;
    }
    for (int32_t i = 0; i < engine->n_running && budget > 0; i++) {
        Request *request = engine->running[i];
        const int32_t left = request->n_tokens - kv_sequence_length(kv, request->sequence);
        if (left <= 1) continue;
        const int32_t n_tokens = runner_chunk(engine->runner, request->sequence, left, budget, request->given.n_pinned);
        add_input(engine, &count, request, n_tokens);
        budget -= n_tokens;
    }
    return count;
}

/* Pages ran out: the request admitted last makes room. Alone, it has reached the end of what there is. */
static void make_room(Engine *engine)
{
    Request *last = engine->running[0];
    for (int32_t i = 1; i < engine->n_running; i++)
        if (engine->running[i]->admitted > last->admitted) last = engine->running[i];
    if (engine->n_running > 1)
        put_back(engine, last);
    else if (last->n_generated > 0)
        finish(engine, last, IMP_STOP_CONTEXT, -1);
    else
        fail(engine, last, IMP_ERR_CONTEXT_FULL);
}

/* The pages are the thread's own: others read them here, as of now and then. */
static void count_pages(Engine *engine)
{
    if (engine->model->n_page_groups == 0) return;
    const KvCache *kv = runner_kv(engine->runner);
    const int32_t cached = kv_cache_cached_pages(kv, 0), available = kv_cache_available_pages(kv, 0);
    const int32_t pinned = kv_cache_pinned_pages(kv);
    pthread_mutex_lock(&engine->mutex);
    engine->stats.pages_cached = cached;
    engine->stats.pages_pinned = pinned;
    engine->stats.pages_in_use = engine->stats.pages - available;
    pthread_mutex_unlock(&engine->mutex);
}

/* The engine's numbers after a step that took `seconds`. */
static void count_step(Engine *engine, int32_t n_rows, int32_t n_drawn, double seconds)
{
    if (engine->stats.steps % 32 == 0) count_pages(engine);
    pthread_mutex_lock(&engine->mutex);
    engine->stats.steps++;
    engine->stats.rows += (uint64_t)n_rows;
    engine->stats.generated_tokens += (uint64_t)n_drawn;
    engine->stats.busy_seconds += seconds;
    pthread_mutex_unlock(&engine->mutex);
}

/* Adds the hidden states of an embedding request's rows; emits when its prompt is whole. */
static void take_hidden(Engine *engine, Request *request, int32_t first_row, int32_t n_rows)
{
    const int32_t width = engine->model->n_embd;
    const ImpStatus status = forward_read_hidden(runner_forward(engine->runner), first_row, n_rows, engine->hidden);
    if (status != IMP_OK) {
        fail(engine, request, status);
        return;
    }
    request_add_hidden(request, engine->hidden, n_rows, width);
    if (kv_sequence_length(runner_kv(engine->runner), request->sequence) < request->n_tokens) return;
    request->prompt_done = clock_seconds();
    leave(engine, request);
    count_end(engine, request, &engine->stats.finished);
    request_embed(request, width);
    request_free(request);
}

static float *logits_at(const Engine *engine, int32_t index)
{
    return engine->logits + (size_t)index * (size_t)engine->model->n_vocab;
}

/* Has the backend draw what it can, while it computes: masks are made meanwhile. */
static void sample(Engine *engine, int32_t count)
{
    int32_t n = 0;
    for (int32_t i = 0; i < count; i++) {
        if (engine->inputs[i].n_logits == 0) continue;
        request_describe(engine->stepping[i], logits_at(engine, n), &engine->samples[n]);
        n++;
    }
    if (n > 0) runner_sample(engine->runner, engine->samples, engine->sampled);
}

/* One step: logits are at the host where it draws. */
static ImpStatus compute(Engine *engine, int32_t count)
{
    const bool draws = runner_draws(engine->runner);
    for (int32_t i = 0; i < count; i++) engine->sampled[i] = (SampleResult){.token = SAMPLE_UNDONE};
    IMP_TRY(runner_step_begin(engine->runner, engine->inputs, count, draws ? NULL : engine->logits));
    if (draws) sample(engine, count);
    return runner_step_end(engine->runner);
}

/* The backend's draw of the step's logits `index`; logits that it could not draw from are brought over. */
static void take_logits(Engine *engine, Request *request, int32_t index)
{
    const SampleResult *sampled = &engine->sampled[index];
    float *logits = logits_at(engine, index);
    ImpStopReason reason;
    int32_t stop_index;
    if (request->prompt_done == 0) {
        request->prompt_done = clock_seconds();
        if (request->given.n_pinned > 0)
            request->n_pinned = kv_sequence_pin(runner_kv(engine->runner), request->sequence, request->given.n_pinned,
                                                request->prompt_done + request->given.pin_seconds);
    }
    ImpStatus status = IMP_OK;
    if (runner_draws(engine->runner) && sampled->token == SAMPLE_UNDONE && engine->samples[index].kind >= SAMPLE_GREEDY)
        status = runner_read_logits(engine->runner, index, logits);
    if (status == IMP_OK)
        status = request_draw(request, sampled, logits, engine->n_drawable, &reason, &stop_index);
    if (status != IMP_OK)
        fail(engine, request, status);
    else if (reason != IMP_STOP_NONE)
        finish(engine, request, reason, stop_index);
    else
        guide_prepare(&request->guide, engine->guides);
}

/* False when it only made room: then the step is to be tried again, before anyone is admitted to the room. */
static bool run_step(Engine *engine)
{
    const double start = clock_seconds();
    const int32_t count = choose_batch(engine);
    const ImpStatus status = compute(engine, count);
    if (status == IMP_ERR_CONTEXT_FULL) {
        make_room(engine);
        return false;
    }
    if (status != IMP_OK) {
        for (int32_t i = 0; i < count; i++) fail(engine, engine->stepping[i], status);
        return true;
    }
    int32_t row = 0, drawn = 0;
    for (int32_t i = 0; i < count; i++) {
        const StepInput input = engine->inputs[i];
        if (engine->stepping[i]->given.embedding)
            take_hidden(engine, engine->stepping[i], row, input.n_tokens);
        else if (input.n_logits > 0)
            take_logits(engine, engine->stepping[i], drawn++);
        row += input.n_tokens;
    }
    count_step(engine, row, drawn, clock_seconds() - start);
    return true;
}

/* Sleeps until there is something to do; false when the engine is to end. */
static bool wait_for_work(Engine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    while (!engine->stop && engine->n_running == 0 && engine->waiting == NULL)
        pthread_cond_wait(&engine->wake, &engine->mutex);
    const bool stop = engine->stop;
    pthread_mutex_unlock(&engine->mutex);
    return !stop;
}

static void cancel_all(Engine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    for (Request *request = engine->waiting; request != NULL; request = request->next)
        atomic_store(&request->cancelled, true);
    for (int32_t i = 0; i < engine->n_running; i++) atomic_store(&engine->running[i]->cancelled, true);
    pthread_mutex_unlock(&engine->mutex);
    sweep(engine);
}

static void *engine_main(void *argument)
{
    Engine *engine = argument;
    while (wait_for_work(engine)) {
        sweep(engine);
        admit(engine);
        while (engine->n_running > 0 && !run_step(engine)) {
        }
        if (engine->n_running == 0) count_pages(engine);
    }
    cancel_all(engine);
    return NULL;
}

/* ---- life ---- */

static ImpStatus create_arrays(Engine *engine)
{
    const size_t n = (size_t)engine->max_sequences;
    engine->running = calloc(n, sizeof(Request *));
    engine->stepping = calloc(n, sizeof(Request *));
    engine->inputs = calloc(n, sizeof *engine->inputs);
    engine->logits = runner_logits_alloc(engine->runner, (int32_t)n);
    engine->hidden = malloc((size_t)engine->budget * (size_t)engine->model->n_embd * sizeof *engine->hidden);
    engine->samples = calloc(n, sizeof *engine->samples);
    engine->sampled = calloc(n, sizeof *engine->sampled);
    const bool good = engine->running && engine->stepping && engine->inputs && engine->logits && engine->hidden &&
                      engine->samples && engine->sampled;
    return good ? IMP_OK : imp_fail_memory(n * (size_t)engine->model->n_vocab * sizeof(float));
}

ImpStatus engine_create(Backend *backend, const Model *model, const Tokenizer *tokenizer, const EngineOptions *options,
                        Engine **out)
{
    *out = NULL;
    Engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) return imp_fail_memory(sizeof *engine);
    ImpStatus status;
    engine->model = model;
    engine->tokenizer = tokenizer;
    engine->max_waiting = options->max_waiting;
    engine->n_drawable = model->n_vocab;
    if (tokenizer != NULL && tokenizer_vocab_size(tokenizer) < model->n_vocab)
        engine->n_drawable = tokenizer_vocab_size(tokenizer);
    (void)pthread_mutex_init(&engine->mutex, NULL);
    (void)pthread_cond_init(&engine->wake, NULL);
    IMP_GOTO(runner_create(backend, model, &options->runner, &engine->runner));
    engine->max_sequences = runner_options(engine->runner)->max_sequences;
    engine->budget = runner_options(engine->runner)->chunk;
    engine->context = runner_options(engine->runner)->max_tokens;
    IMP_GOTO(create_arrays(engine));
    IMP_GOTO(guide_worker_create(&engine->guides));
    if (model->n_page_groups > 0) engine->stats.pages = kv_cache_available_pages(runner_kv(engine->runner), 0);
    if (pthread_create(&engine->thread, NULL, engine_main, engine) != 0) {
        status = imp_fail(IMP_ERR_IO, "the engine's thread could not be started");
        goto fail;
    }
    engine->thread_started = true;
    *out = engine;
    return IMP_OK;
fail:
    engine_free(engine);
    return status;
}

void engine_stop(Engine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    engine->stop = true;
    pthread_cond_signal(&engine->wake);
    pthread_mutex_unlock(&engine->mutex);
}

void engine_free(Engine *engine)
{
    if (engine == NULL) return;
    if (engine->thread_started) {
        engine_stop(engine);
        (void)pthread_join(engine->thread, NULL);
    }
    if (engine->runner) runner_logits_free(engine->runner, engine->logits);
    guide_worker_free(engine->guides);
    runner_free(engine->runner);
    (void)pthread_mutex_destroy(&engine->mutex);
    (void)pthread_cond_destroy(&engine->wake);
    free(engine->running);
    free(engine->stepping);
    free(engine->inputs);
    free(engine->samples);
    free(engine->sampled);
    free(engine->hidden);
    free(engine);
}

int32_t engine_context(const Engine *engine) { return engine->context; }

void engine_stats(Engine *engine, ImpEngineStats *out)
{
    pthread_mutex_lock(&engine->mutex);
    *out = engine->stats;
    pthread_mutex_unlock(&engine->mutex);
}
