"""Values to messages of GoBGP's API and back: what both versions of it share."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, ip_network

from nodeagent.bgp.rules import Rule
from nodeagent.bgp.schema import Message, Schema
from nodeagent.bgp.steps import Peer, describe, described
from nodeagent.bgp.values import Prefix, Session, Speaker

EXPORT, IMPORT = 2, 1  # PolicyDirection
ACCEPT, REJECT = 1, 2  # RouteAction
LOCAL_ROUTE = 3  # Conditions.RouteType
UNICAST = 1  # SAFI (RFC 4760)
AFI = {4: 1, 6: 2}
FAMILY = {afi: family for family, afi in AFI.items()}
NOWHERE = {4: "0.0.0.0", 6: "::"}  # as next hop: the session's own address
LONGEST_HOLD = 2**16 - 1  # seconds
DEFERRAL = 1  # seconds that a restarted daemon waits for routers to say all they know; it wants none of it
GLOBAL_TABLE = "global"
EXPORT_POLICY, IMPORT_POLICY = "roost-export", "roost-import"
LOCAL_ONLY = "local-only"  # the one statement of the import policy: what routers say is never passed on
STATES = ("Unknown", "Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established")


class Dialect:
    """One version of the API. The numbers are those of its enumerations, which moved between the versions."""

    schema: Schema
    TABLE: int
    NEIGHBORS: int  # DefinedType
    LARGE_COMMUNITIES: int
    ANY: int  # MatchSet.Type
    ADD: int  # CommunityAction.Type
    REMOVE: int
    REPLACE: int
    REPLACE_MED: int
    UP: int  # PeerState.AdminState
    RESTARTABLE: bool  # whether StartBgp works after StopBgp

    # -- where the versions differ ------------------------------------------------------------------------------------

    def attributes(self, family: int, tag: str) -> Message:
        """A path of *family* with *tag*, to no prefix yet."""
        raise NotImplementedError

    def put_prefix(self, path: Message, prefix: Prefix) -> None:
        raise NotImplementedError

    def tag(self, path: Message) -> str:
        raise NotImplementedError

    def list_peers(self, *, advertised: bool) -> Message:
        raise NotImplementedError

    def last_error(self, state: Message) -> str:
        raise NotImplementedError

    def advertised(self, peer: Message) -> int:
        """Paths that went out."""
        return sum(one.state.advertised for one in peer.afi_safis)

    def put_bfd(self, peer: Message, session: Session) -> None:
        """The default: this version has none."""

    def has_bfd(self, peer: Message) -> bool:
        return False

    # -- the daemon ---------------------------------------------------------------------------------------------------

    def start(self, speaker: Speaker) -> Message:
        request = self.schema.StartBgpRequest()
        ours = getattr(request, "global")
        ours.asn, ours.router_id, ours.listen_port = speaker.asn, str(speaker.router_id), -1
        return request

    def speaker(self, answer: Message) -> Speaker | None:
        said = getattr(answer, "global")
        return Speaker(said.asn, IPv4Address(said.router_id)) if said.asn else None

    # -- paths --------------------------------------------------------------------------------------------------------

    def family(self, family: int) -> Message:
        return self.schema.Family(afi=AFI[family], safi=UNICAST)

    def paths(self, batch: Iterable[tuple[Prefix, str]], *, withdraw: bool) -> Message:
        """One message of a stream of paths."""
        request = self.schema.AddPathStreamRequest(table_type=self.TABLE)
        made: dict[tuple[int, str], Message] = {}
        for prefix, tag in batch:
            kind = (prefix.version, tag)
            if kind not in made:
                made[kind] = self.attributes(*kind)
                made[kind].is_withdraw = withdraw
            path = request.paths.add()
            path.CopyFrom(made[kind])
            self.put_prefix(path, prefix)
        return request

    def list_paths(self, family: int) -> Message:
        return self.schema.ListPathRequest(table_type=self.TABLE, family=self.family(family))

    def path(self, answer: Message) -> tuple[Prefix, str] | None:
        """Prefix and tag of what we said; None: another said it."""
        for path in answer.destination.paths:
            if path.neighbor_ip in ("", "<nil>", "invalid IP"):
                return ip_network(answer.destination.prefix), self.tag(path)
        return None

    def _tag(self, communities: Iterable[Message]) -> str:
        """All of them: one more than ours, and it is no tag that we know."""
        return " ".join(f"{c.global_admin}:{c.local_data1}:{c.local_data2}" for c in communities)

    def _communities(self, tag: str) -> list[Message]:
        words = [[int(part) for part in word.split(":")] for word in tag.split()]
        return [self.schema.LargeCommunity(global_admin=a, local_data1=b, local_data2=c) for a, b, c in words]

    # -- sessions -----------------------------------------------------------------------------------------------------

    def add_peer(self, session: Session, address: str, *, restarting: bool) -> Message:
        request = self.schema.AddPeerRequest()
        peer = request.peer
        conf = peer.conf
        conf.neighbor_address, conf.peer_asn, conf.local_asn = address, session.asn or 0, session.local_asn
        conf.auth_password, conf.description = session.password, describe(session, address)
        timers = peer.timers.config
        timers.hold_time = session.timers.hold or LONGEST_HOLD  # GoBGP takes 0 for "not said", that is 90
        timers.keepalive_interval, timers.connect_retry = session.timers.keepalive, session.timers.connect_retry
        timers.idle_hold_time_after_reset = session.timers.connect_retry
        peer.transport.remote_port = session.port
        peer.transport.bind_interface = session.source_interface
        if session.source_address is not None:
            peer.transport.local_address = str(session.source_address)
        if session.multihop_ttl:
            peer.ebgp_multihop.enabled, peer.ebgp_multihop.multihop_ttl = True, session.multihop_ttl
        self._put_graceful_restart(peer, session, restarting=restarting)
        for family in sorted(session.families):
            one = peer.afi_safis.add()
            one.config.family.CopyFrom(self.family(family))
            one.config.enabled = True
            one.mp_graceful_restart.config.enabled = session.graceful_restart > 0
        self.put_bfd(peer, session)
        return request

    def _put_graceful_restart(self, peer: Message, session: Session, *, restarting: bool) -> None:
        if session.graceful_restart:
            graceful = peer.graceful_restart
            graceful.enabled, graceful.restart_time = True, session.graceful_restart
            graceful.deferral_time, graceful.local_restarting = DEFERRAL, restarting

    def peer(self, message: Message) -> Peer:
        conf, state = message.conf, message.state
        address = conf.neighbor_address or state.neighbor_address
        digest, key = described(conf.description) or ("", address)
        return Peer(
            key=key,
            address=address,
            digest=digest,
            asn=conf.peer_asn,
            password=conf.auth_password,
            enabled=state.admin_state in (0, self.UP),
            established=STATES[state.session_state] == STATES[-1],
        )

    # -- policies -----------------------------------------------------------------------------------------------------

    def set_policies(self, rules: Iterable[Rule]) -> Message:
        """The next hops first: their search goes on. Then what accepts, one for each tag and session."""
        request = self.schema.SetPoliciesRequest()
        ordered = sorted(rules, key=lambda rule: (bool(rule.tag), rule.tag, rule.session, rule.family))
        for tag in sorted({rule.tag for rule in ordered if rule.tag}):
            request.defined_sets.add(defined_type=self.LARGE_COMMUNITIES, name=tag, list=[f"^{tag}$"])
        for session in sorted({rule.session for rule in ordered}):
            length = 128 if ":" in session else 32
            request.defined_sets.add(defined_type=self.NEIGHBORS, name=session, list=[f"{session}/{length}"])
        export = request.policies.add(name=EXPORT_POLICY)
        for rule in ordered:
            self._put_rule(export.statements.add(name=rule.name), rule)
        ours = request.policies.add(name=IMPORT_POLICY).statements.add(name=LOCAL_ONLY)
        ours.conditions.route_type = LOCAL_ROUTE
        ours.actions.route_action = ACCEPT
        return request

    def _put_rule(self, statement: Message, rule: Rule) -> None:
        conditions, actions = statement.conditions, statement.actions
        conditions.neighbor_set.type, conditions.neighbor_set.name = self.ANY, rule.session
        if rule.family:
            conditions.afi_safi_in.append(self.family(rule.family))
        if rule.next_hop:
            actions.nexthop.address = rule.next_hop
        if not rule.tag:
            return
        conditions.large_community_set.type, conditions.large_community_set.name = self.ANY, rule.tag
        actions.route_action = ACCEPT
        large = actions.large_community
        if rule.large_communities:
            large.type = self.REPLACE
            large.communities.extend(rule.large_communities)
        else:
            large.type = self.REMOVE
            large.communities.append(f"^{rule.tag}$")
        if rule.communities:
            actions.community.type = self.ADD
            actions.community.communities.extend(rule.communities)
        if rule.local_preference is not None:
            actions.local_pref.value = rule.local_preference
        if rule.med is not None:
            actions.med.type, actions.med.value = self.REPLACE_MED, rule.med
        if rule.prepend is not None:
            actions.as_prepend.asn, actions.as_prepend.repeat = rule.prepend

    def rules(
        self, policies: Iterable[Message], sets: Mapping[tuple[int, str], tuple[str, ...]]
    ) -> frozenset[Rule] | None:
        """The rules that *policies* are; None unless they are exactly such as `set_policies` makes."""
        named = {policy.name: policy for policy in policies}
        if set(named) != {EXPORT_POLICY, IMPORT_POLICY}:
            return None
        try:
            found = [self._rule(statement, sets) for statement in named[EXPORT_POLICY].statements]
        except (KeyError, ValueError):  # a set of ours is gone, or somebody gave it other members
            return None
        again = self.set_policies(found)
        exports, imports = again.policies
        names = [s.name for s in named[EXPORT_POLICY].statements] == [s.name for s in exports.statements]
        local = [(s.name, s.conditions.route_type, s.actions.route_action) for s in named[IMPORT_POLICY].statements]
        wanted = [(s.name, s.conditions.route_type, s.actions.route_action) for s in imports.statements]
        return frozenset(found) if names and local == wanted else None

    def _rule(self, statement: Message, sets: Mapping[tuple[int, str], tuple[str, ...]]) -> Rule:
        conditions, actions = statement.conditions, statement.actions
        tag = ""
        if conditions.large_community_set.name:
            (tag,) = sets[self.LARGE_COMMUNITIES, conditions.large_community_set.name] or ("",)
        (session,) = sets[self.NEIGHBORS, conditions.neighbor_set.name] or ("",)
        large = actions.large_community
        return Rule(
            tag=tag.strip("^$"),
            session=session.partition("/")[0],
            family=next((FAMILY.get(family.afi, 0) for family in conditions.afi_safi_in), 0),
            communities=tuple(sorted(text.strip("^$") for text in actions.community.communities)),
            large_communities=tuple(sorted(large.communities)) if large.type == self.REPLACE else (),
            local_preference=actions.local_pref.value if actions.HasField("local_pref") else None,
            med=actions.med.value if actions.HasField("med") else None,
            prepend=(actions.as_prepend.asn, actions.as_prepend.repeat) if actions.HasField("as_prepend") else None,
            next_hop=actions.nexthop.address,
        )

    def assign(self, direction: int) -> Message:
        request = self.schema.SetPolicyAssignmentRequest()
        one = request.assignment
        one.name, one.direction, one.default_action = GLOBAL_TABLE, direction, REJECT
        one.policies.add(name=EXPORT_POLICY if direction == EXPORT else IMPORT_POLICY)
        return request

    def assigned(self, direction: int, answers: Iterable[Message]) -> bool:
        """Whether what `assign` says is so."""
        name = EXPORT_POLICY if direction == EXPORT else IMPORT_POLICY
        return [([p.name for p in a.assignment.policies], a.assignment.default_action) for a in answers] == [
            ([name], REJECT)
        ]
