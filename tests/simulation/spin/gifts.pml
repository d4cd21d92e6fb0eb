/*
 * Who may claim a group of VIPs while live seats give it to each other: silence before the write, three outcomes of it.
 *
 * Three seats, each with a permit that always stands: only `held` keeps their claims apart. One table; every write of
 * it is a compare-and-set on its revision, is executed late or never, and its answer may be lost. Views of the table are
 * old by any amount, processes stand still for any time and are started anew while their kernel goes on. Time does not
 * matter here, so there is none; up to WRITES revisions of the table are made, in every order that the rules allow.
 *
 * Rules that can be taken out, and questions (REACH_...) whose answer must be an error: test_spin.py lists both.
 */

#ifndef WRITES
#define WRITES 5
#endif

byte revision;             /* of the table */
byte holder[WRITES + 1];   /* of the group, by revision */

mtype = { NONE, FLYING, LANDED, FAILED };
mtype = { SETTLED, SILENT, SENT, UNKNOWN };

bit held[3];               /* the kernel of this seat lets claims out */
bit adopting[3];           /* started anew, and has not adopted its seat yet */
byte view[3];              /* the revision that it knows */
mtype gift[3] = SETTLED;   /* what it knows of its own gift */
mtype put[3] = NONE;       /* the write of it: also one that a former life sent */
byte base[3];              /* of the write: the revision that it replaces */
byte heir[3];

#define WRITE(whom) revision++; holder[revision] = whom
#define UNCHANGED holder[revision - 1]
#define MINE (holder[view[me]] == me)
#define FREE (revision < WRITES)
#ifdef WRITTEN_BEFORE_SILENT
#define SILENCE skip
#else
#define SILENCE held[me] = 0
#endif
#define MAY_GIVE (MINE && held[me] && gift[me] == SETTLED && put[me] == NONE && !adopting[me])
#define FORGET base[me] = 0; heir[me] = 0
#define SEE(what) \
    view[me] = what; \
    held[me] = (holder[view[me]] == me -> held[me] : 0); \
    gift[me] = (gift[me] == UNKNOWN && view[me] > base[me] -> SETTLED : gift[me])

proctype Seat(byte me) {
    do
    /* the table */
    :: d_step { view[me] < revision && !adopting[me] -> SEE(view[me] + 1) }
    :: d_step { view[me] < revision && !adopting[me] -> SEE(revision) }
#ifdef OLDER_REVISION_BELIEVED
    :: d_step { view[me] > 0 && !adopting[me] -> SEE(view[me] - 1) }
#endif
    :: d_step { FREE -> WRITE(UNCHANGED) } /* for some other group */
    /* what it holds */
    :: d_step { MINE && gift[me] == SETTLED && !adopting[me] && !held[me] -> held[me] = 1 }
    /* the giver */
    :: d_step { MAY_GIVE -> SILENCE; heir[me] = (me + 1) % 3; gift[me] = SILENT }
    :: d_step { MAY_GIVE -> SILENCE; heir[me] = (me + 2) % 3; gift[me] = SILENT }
    :: d_step { gift[me] == SILENT -> base[me] = view[me]; put[me] = FLYING; gift[me] = SENT }
    :: d_step { put[me] == FLYING && base[me] == revision && FREE -> WRITE(heir[me]); put[me] = LANDED }
    :: d_step { put[me] == FLYING && base[me] < revision -> put[me] = FAILED }
    :: d_step {
        gift[me] == SENT && put[me] == LANDED ->
        gift[me] = SETTLED; put[me] = NONE; SEE((view[me] > base[me] -> view[me] : base[me] + 1)); FORGET
    }
#ifdef REPEATED_BY_THE_CLIENT
    :: d_step { gift[me] == SENT && put[me] == LANDED -> put[me] = FAILED } /* the second of two finds the first */
#endif
    :: d_step { gift[me] == SENT && put[me] == FAILED -> gift[me] = SETTLED; put[me] = NONE; FORGET }
    :: d_step { gift[me] == SENT -> gift[me] = UNKNOWN }
#ifdef UNKNOWN_IS_FAILED
    :: d_step { gift[me] == UNKNOWN -> gift[me] = SETTLED }
#endif
#ifdef A_READ_SETTLES
    :: d_step { gift[me] == UNKNOWN && view[me] == revision -> gift[me] = SETTLED }
#endif
    :: d_step { gift[me] == UNKNOWN && base[me] == revision && FREE -> WRITE(UNCHANGED) } /* takes its revision */
    :: d_step { gift[me] == SETTLED && (put[me] == LANDED || put[me] == FAILED) -> put[me] = NONE; FORGET }
    /* a new life */
    :: d_step { !adopting[me] -> adopting[me] = 1; gift[me] = SETTLED; view[me] = 0 }
#ifdef ADOPTED_BY_READING
    :: d_step { adopting[me] -> adopting[me] = 0; SEE(revision) }
#else
    :: d_step { adopting[me] && FREE -> WRITE(UNCHANGED); adopting[me] = 0; SEE(revision) }
#endif
    od
}

#ifdef REACH_A_GIFT
#define BAD held[1]
#elif defined(REACH_A_GIFT_BACK)
#define BAD (held[0] && holder[revision] == 0 && (holder[1] || holder[2] || holder[3]) && view[0] == revision)
#elif defined(REACH_A_GIFT_BY_A_FORMER_LIFE)
#define BAD (put[0] == LANDED && gift[0] == SETTLED && held[1])
#else
#define BAD (held[0] + held[1] + held[2] > 1)
#endif

active proctype NeverTwo() {
    BAD -> assert(!BAD)
}

init {
    atomic {
        run Seat(0); run Seat(1); run Seat(2)
    }
}
