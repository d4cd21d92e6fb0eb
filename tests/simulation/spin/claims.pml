/*
 * Who may claim a group of VIPs: feeding, taking from the dead, marks on a Lease, and changes between their rules.
 *
 * Three seats: 0 holds the group, its permit is in its kernel; 1 is its heir and a witness, 2 the other witness. Spin
 * visits every state and looks for one in which two kernels let claims out. Nothing here must ever happen: any process
 * may be slow, stand still between deciding and doing, or never go on; any message may be late or lost in one direction
 * and not in the other; any view of the table or of the Lease may be old. Only Clock binds: with its tick the kernel's
 * time-outs run and all ages grow, up to the age after which nothing depends on them. So the states are finitely many
 * although time is not bounded, and what is shown holds for runs of any length.
 *
 * Nothing is asked of accusations, true or not, for no rule about silence keeps claims apart; nor of the heir's own
 * permit, which always stands. Not in here: rest, probes, the wait of 10 s, holding on when cut off, clocks that stop.
 *
 * What feeds seat 0 at the START is one list of witnesses. -DLISTS adds changes of the list, -DLEASED the Lease and the
 * changes between the two modes. Rules that can be taken out, and questions (REACH_...) whose answer must be an
 * error: test_spin.py lists both.
 */

/* Ticks. T, S: how long a hello or a renewal feeds; M: how much longer is waited; SLIP: how long after its permit's end
   by its own clock the last claim of a kernel leaves: clocks that differ by a tenth, and the way to the wire. */
#ifndef T
#define T 3
#endif
#ifndef S
#define S (T + 1)
#endif
#ifndef M
#define M 1
#endif
#define SLIP 1

/* Who feeds the permit of seat 0. Of k witnesses h = 1 feeds and t = k end it, for k is 1 or 2. */
#define ONE 1
#define TWO 2
#define BOTH 3
#define LEASE 4

#ifndef START
#define START BOTH
#endif

#define NOT_FED T         /* an age at which an echo feeds no more */
#define EXPIRED S         /* an age at which a renewal feeds no more */
#define OLD (T + M)       /* an age from which on a witness's last echo does not matter */
#define NEVER (T + M + 1) /* it has no record of an echo, in this life */
#define UNASKED (T + M + 1) /* the heir has not heard `gone` from this witness */

/* -- the kernel of seat 0 */
byte permit;  /* ticks until it stops claims */
bool staged;  /* a set element that lives for a moment, less than a tick: a decision is good only while it stands */

/* -- the table: one object, every write of it a compare-and-set on its revision */
byte listed = START; /* the row of seat 0: who feeds it. Once `gone`: who fed it at the end */
bool gone;           /* seat 0 is gone, its group is the heir's */
mtype = { NONE, FLYING, LANDED, FAILED };
mtype put = NONE; /* the write of seat 0 that asks for another row */
byte asked;       /* its content */

/* -- seat 0: its process */
mtype = { IDLE, DECIDED };
mtype doing = IDLE;
byte left;         /* DECIDED: ticks that the permit may have, as the clock was read */
byte rule = START; /* the row that it knows to be in force */
mtype = { SETTLED, OPEN, CUT, SENT, UNKNOWN };
mtype change = SETTLED; /* to the row `asked` */
bool adopting;            /* it was started anew and has not adopted its seat yet */
byte echoed[3] = NOT_FED; /* per witness: ticks since the newest hello that it is known to have echoed was sent */

/* -- the witnesses, and what is under way from them */
mtype = { READING, READY, TOLD };
mtype witness[3] = READY; /* READING: started anew, the table not read yet; TOLD: it knows that seat 0 is gone */
byte last[3] = NEVER;     /* ticks since it last echoed */
byte air[3] = NOT_FED;    /* an echo under way: ticks since the sending of the hello */

/* -- the heir */
byte wait[3] = UNASKED; /* per witness that said `gone`: ticks until T + M - age has passed */
bool claims;
#ifdef WITHOUT_GONE
byte since; /* ticks since the table was written */
#endif

/* -- the Lease of seat 0, and who watches it */
#ifdef LEASED
byte renewed = EXPIRED; /* seat 0: ticks since the sending of its last successful renewal */
mtype renewal = NONE;
byte asked_at;          /* ticks since the sending of that renewal */
bool marked;            /* on the Lease */
bool mark;              /* somebody knows that it was put there */
bool current;           /* the watcher's Lease is the newest */
byte unchanged;         /* ticks without a change of it that he saw */
#endif

#define least(a, b) ((a) < (b) -> (a) : (b))
#define grow(age, limit) age = least(age + 1, limit)
#define shrink(time) time = (time > 0 -> time - 1 : 0)

/* How many ticks a rule still allows. */
#define ECHOES(row) (T - least(((row) & ONE -> echoed[1] : NOT_FED), ((row) & TWO -> echoed[2] : NOT_FED)))
#ifdef LEASED
#define ALLOWED(row) ((row) == LEASE -> S - renewed : ECHOES(row))
#else
#define ALLOWED(row) ECHOES(row)
#endif

#ifdef ONLY_THE_NEW_RULE
#define DEADLINE (change == SETTLED -> ALLOWED(rule) : ALLOWED(asked))
#elif defined(ONLY_THE_OLD_RULE)
#define DEADLINE ALLOWED(rule)
#else
#define DEADLINE (change == SETTLED -> ALLOWED(rule) : least(ALLOWED(rule), ALLOWED(asked)))
#endif

active proctype Clock() {
    do
    :: d_step {
        shrink(permit);
        staged = false;
        grow(echoed[1], NOT_FED); grow(echoed[2], NOT_FED);
        grow(air[1], NOT_FED); grow(air[2], NOT_FED);
        last[1] = (last[1] < OLD -> last[1] + 1 : last[1]);
        last[2] = (last[2] < OLD -> last[2] + 1 : last[2]);
        wait[1] = (wait[1] == UNASKED || wait[1] == 0 -> wait[1] : wait[1] - 1);
        wait[2] = (wait[2] == UNASKED || wait[2] == 0 -> wait[2] : wait[2] - 1);
#ifdef LEASED
        grow(renewed, EXPIRED);
        asked_at = (renewal == NONE -> 0 : least(asked_at + 1, EXPIRED));
        unchanged = (mark -> 0 : least(unchanged + 1, S + M));
#endif
#ifdef WITHOUT_GONE
        since = (gone -> least(since + 1, T + M) : 0);
#endif
    }
    od
}

/* Seat 0 feeds its permit: it stages an element that lives for a moment, reads the clock, and takes that element away
   in the transaction that sets the permit, made anew or not. Whoever decided before he stood still is refused. */
active proctype Feeding() {
    do
    :: d_step { doing == IDLE && !adopting -> staged = true; left = DEADLINE; doing = DECIDED }
#ifdef MADE_ANEW_BLINDLY
    :: d_step { doing == DECIDED && left > 0 && permit == 0 -> permit = 1; doing = IDLE; left = 0; staged = false }
#endif
    :: d_step {
        doing == DECIDED ->
        if
        :: left == 0 -> permit = 0; change = (change == OPEN -> CUT : change)
#ifdef REFRESHED_LATE
        :: left > 0 && permit > 0 -> permit = left + SLIP; change = (change == OPEN -> CUT : change)
        :: left > 0 && permit == 0 && staged -> permit = left + SLIP; change = (change == OPEN -> CUT : change)
#elif defined(REFRESHED_AFTER_ITS_END)
        :: left > 0 -> permit = left + SLIP; change = (change == OPEN -> CUT : change)
#else
        :: left > 0 && staged -> permit = left + SLIP; change = (change == OPEN -> CUT : change)
#endif
        :: else /* the kernel refuses */
        fi;
        doing = IDLE; left = 0; staged = false
    }
    od
}

#define MAY_OPEN (!gone && change == SETTLED && put == NONE && doing == IDLE && !adopting)
#define ANSWERED put = NONE; change = SETTLED
#ifdef COUNTED_FROM_THE_TABLE
#define LEASE_FIRST true
#define ON_ASKING renewed = 0
#else
#define LEASE_FIRST (renewed < EXPIRED)
#define ON_ASKING skip
#endif

#if defined(LISTS) || defined(LEASED)
/* Seat 0 asks for another row. The write is settled by its answer, or by a newer revision of the table. */
active proctype Change() {
    do
#ifdef LISTS
    :: d_step { MAY_OPEN && rule != ONE -> asked = ONE; change = OPEN }
    :: d_step { MAY_OPEN && rule != TWO -> asked = TWO; change = OPEN }
#endif
    :: d_step { MAY_OPEN && rule != START -> asked = START; change = OPEN }
#ifdef LEASED
    :: d_step { MAY_OPEN && rule != LEASE && LEASE_FIRST -> ON_ASKING; asked = LEASE; change = OPEN }
#endif
#ifdef NOT_CUT
    :: d_step { change == OPEN -> change = CUT }
#endif
    :: d_step { change == CUT -> put = (gone -> FAILED : FLYING); change = SENT }
    :: d_step { put == FLYING -> listed = asked; put = LANDED }        /* the API server executes it */
    :: d_step { put == FLYING -> put = FAILED }                        /* another write came first */
    :: d_step { change == SENT && put == LANDED -> rule = asked; ANSWERED }
    :: d_step { change == SENT && put == FAILED -> ANSWERED }
    :: d_step { change == SENT -> change = UNKNOWN }                   /* no answer in time */
#ifdef UNKNOWN_IS_FAILED
    :: d_step { change == UNKNOWN -> put = (put == FLYING -> FLYING : NONE); change = SETTLED }
#else
    :: d_step { change == UNKNOWN && put == FLYING -> put = FAILED }   /* a write of no content takes its revision */
    :: d_step { change == UNKNOWN && put != FLYING -> rule = listed; ANSWERED } /* a newer revision is seen */
#endif
    od
}
#endif

/* Seat 0 is started anew. Its kernel goes on; what it knew is lost, what it sent is not. */
active proctype Restart() {
    do
    :: d_step {
        !adopting && !gone ->
        adopting = true; doing = IDLE; left = 0; change = SETTLED;
        echoed[1] = NOT_FED; echoed[2] = NOT_FED; air[1] = NOT_FED; air[2] = NOT_FED;
#ifdef LEASED
        renewed = EXPIRED; renewal = NONE; asked_at = 0;
#endif
        put = (put == FLYING -> FLYING : NONE)
    }
    :: d_step {
        adopting && !gone ->
#ifndef ADOPTED_BY_READING
        put = NONE; /* adopting is a write */
#endif
        rule = listed; adopting = false
    }
    od
}

/* Seats 1 and 2 as witnesses. They echo hellos that were 0, 1 or 2 ticks under way; a new echo takes the place of one
   that is still in the air. */
#ifdef ECHO_BEFORE_READING
#define MAY_ECHO (witness[me] != TOLD)
#elif defined(ECHO_AFTER_GONE)
#define MAY_ECHO (witness[me] != READING)
#else
#define MAY_ECHO (witness[me] == READY)
#endif
#ifdef FED_FROM_RECEIPT
#define HEARD 0
#else
#define HEARD least(echoed[me], air[me])
#endif
#ifdef NO_RECORD_IS_OLD
#define AGE (last[me] == NEVER -> OLD : last[me])
#else
#define AGE (last[me] == NEVER -> 0 : last[me])
#endif

proctype Witness(byte me) {
    do
    :: d_step { MAY_ECHO -> air[me] = 0; last[me] = 0 }
#if T > 1
    :: d_step { MAY_ECHO -> air[me] = 1; last[me] = 0 }
#endif
#if T > 2
    :: d_step { MAY_ECHO -> air[me] = 2; last[me] = 0 }
#endif
    :: d_step { air[me] < NOT_FED && !adopting -> echoed[me] = HEARD; air[me] = NOT_FED } /* seat 0 gets it */
    :: d_step { witness[me] == READY && gone -> witness[me] = TOLD; last[me] = (listed & me -> last[me] : NEVER) }
    :: d_step {
        witness[me] == TOLD && wait[me] == UNASKED && (listed & me) -> /* the heir hears `gone`, and the age */
        wait[me] = T + M - AGE; last[me] = NEVER
    }
    :: d_step { witness[me] != READING -> witness[me] = READING; last[me] = NEVER }
#ifdef READ_FROM_A_CACHE
    :: d_step { witness[me] == READING -> witness[me] = READY }
#else
    :: d_step { witness[me] == READING -> witness[me] = (gone -> TOLD : READY) }
#endif
    od
}

#ifdef LEASED
/* Seat 0 renews its Lease by compare-and-set: a mark on it is never written over. */
active proctype Renewing() {
    do
    :: d_step { renewal == NONE && !adopting && !marked -> renewal = FLYING; asked_at = 0 }
    :: d_step { renewal == FLYING && !marked -> renewal = LANDED; current = false }
#ifdef MARK_WRITTEN_OVER
    :: d_step { renewal == FLYING && marked -> renewal = LANDED; current = false; marked = false }
#endif
    :: d_step { renewal == FLYING && marked -> renewal = NONE; asked_at = 0 } /* refused, and the answer seen */
#ifdef COUNTED_FROM_THE_ANSWER
    :: d_step { renewal == LANDED -> renewed = 0; renewal = NONE; asked_at = 0 }
#else
    :: d_step { renewal == LANDED -> renewed = asked_at; renewal = NONE; asked_at = 0 }
#endif
    od
}

/* A live seat watches the Lease, waits, and marks the very Lease that it waited on. */
active proctype Watcher() {
    do
    :: d_step { !current -> current = true; unchanged = 0 }
#ifdef MARKED_BLINDLY
    :: d_step { !mark && unchanged == S + M -> mark = true; marked = true; unchanged = 0; current = true }
#else
    :: d_step { !mark && unchanged == S + M && current -> mark = true; marked = true; unchanged = 0; current = true }
#endif
    od
}
#endif

#ifdef TAKEN_WITHOUT_A_MARK
#define MAY_TAKE (listed != LEASE || unchanged == S + M)
#elif defined(LEASED)
#define MAY_TAKE (listed != LEASE || mark)
#else
#define MAY_TAKE true
#endif
#ifdef MARK_ENDS_ANY_MODE
#define PROVEN (listed == LEASE || mark)
#else
#define PROVEN (listed == LEASE)
#endif

#ifdef WITHOUT_WAITING
#define SAID(w) ((listed & w) && wait[w] != UNASKED)
#else
#define SAID(w) ((listed & w) && wait[w] == 0)
#endif
#ifdef ONE_GONE_IS_ENOUGH
#define ENDED (SAID(1) || SAID(2))
#elif defined(WITHOUT_GONE)
#define ENDED (since == T + M)
#else
#define ENDED ((!(listed & ONE) || SAID(1)) && (!(listed & TWO) || SAID(2)))
#endif

/* Somebody accuses seat 0, rightly or not, and writes the table; the heir waits and claims. */
active proctype Taking() {
    do
    :: d_step { !gone && MAY_TAKE -> gone = true; put = (put == FLYING -> FAILED : put) }
    :: d_step { gone && !claims && (PROVEN || ENDED) -> claims = true }
    od
}

#ifdef REACH_A_CLAIM_AFTER_GONE
#define BAD (claims && listed != LEASE)
#elif defined(REACH_A_CLAIM_AFTER_A_MARK)
#define BAD (claims && listed == LEASE)
#elif defined(REACH_A_CLAIM_BEFORE_A_LATE_REFRESH)
#define BAD (claims && doing == DECIDED && left > 0)
#else
#define BAD (permit > 0 && claims)
#endif

active proctype NeverTwo() {
    BAD -> assert(!BAD)
}

init {
    atomic {
#if defined(LISTS) || START == BOTH
        run Witness(1);
#endif
        run Witness(2)
    }
}
