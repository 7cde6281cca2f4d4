"""The one place where a memory block is made, changed, attached or removed.

Locks are taken blocks first, then agents, each in order of id, so that two writers never wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet, Subquery
from django.db.models.functions import Coalesce

from agents.models import (
    DEFAULT_BLOCK_LIMIT,
    Agent,
    AgentBlock,
    Block,
    BlockRevision,
    ConversationBlock,
    RevisionActor,
)
from core.errors import Conflict, Invalid, NotFound
from core.time import now

CHANGEABLE = frozenset(
    {
        "value",
        "label",
        "description",
        "limit",
        "read_only",
        "metadata",
        "tags",
        "hidden",
        "project_id",
        "is_template",
        "template_name",
        "template_ids",
    }
)
SHOWN = frozenset({"value", "label", "description", "limit", "read_only"})
MAX_LABEL = 50


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes a block, and why. `id`: of the user, or of the agent."""

    kind: RevisionActor
    id: str = ""
    reason: str = ""
    run_id: str = ""
    step_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBlock:
    label: str
    value: str = ""
    description: str | None = None
    limit: int = DEFAULT_BLOCK_LIMIT
    read_only: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    hidden: bool | None = None
    project_id: str | None = None
    is_template: bool = False
    template_name: str | None = None
    template_ids: Mapping[str, Any] = field(default_factory=dict)


def create_block(organization_id: str, new: NewBlock, actor: Actor) -> Block:
    return create_blocks(organization_id, [new], actor)[0]


def create_blocks(organization_id: str, new: Sequence[NewBlock], actor: Actor) -> list[Block]:
    """Two queries, however many blocks."""
    by = None if actor.kind == RevisionActor.AGENT else actor.id or None
    blocks = [
        Block(
            organization_id=organization_id,
            label=block.label,
            value=block.value,
            description=block.description,
            limit=block.limit,
            read_only=block.read_only,
            metadata=dict(block.metadata),
            tags=list(block.tags),
            hidden=block.hidden,
            project_id=block.project_id,
            is_template=block.is_template,
            template_name=block.template_name,
            template_ids=dict(block.template_ids),
            created_by_id=by,
            last_updated_by_id=by,
        )
        for block in new
    ]
    for block in blocks:
        _check(block)
    with transaction.atomic(savepoint=False):
        Block.objects.bulk_create(blocks)
        BlockRevision.objects.bulk_create([_revision(block, actor) for block in blocks])
    return blocks


@transaction.atomic
def change_block(
    block_id: str,
    organization_id: str,
    changes: Mapping[str, Any],
    actor: Actor,
    expected_version: int | None = None,
) -> Block:
    """The changed block. Raises NotFound, Invalid (a limit, a label), Conflict (another version, a label in use)."""
    block = _locked(Block.objects.filter(pk=block_id, organization_id=organization_id), block_id)
    if expected_version is not None and block.version != expected_version:
        raise Conflict(
            f"The block is at version {block.version}, not {expected_version}: somebody changed it meanwhile. "
            "Read it again, then repeat the change."
        )
    return write_locked(block, changes, actor)


def blocks_in(agent_id: str, conversation_id: str | None = None) -> list[Block]:
    """What the agent has in view there, in the order of attaching: its blocks, with the conversation's own in the place
    of those of the same label. `conversation_id` None: the default conversation, which has none of its own."""
    links = AgentBlock.objects.filter(agent_id=agent_id).select_related("block").order_by("attached_at", "id")
    shown = {link.label: link.block for link in links}
    if conversation_id is not None:
        shown |= {block.label: block for block in own_blocks(conversation_id)}
    return list(shown.values())


def own_blocks(conversation_id: str) -> list[Block]:
    return list(
        Block.objects.filter(conversationblock__conversation_id=conversation_id).order_by("conversationblock__id")
    )


def isolate(conversation_id: str, blocks: Sequence[Block], actor: Actor) -> None:
    """Give the conversation copies of these blocks, which nobody else sees."""
    if not blocks:
        return
    copies = create_blocks(
        blocks[0].organization_id,
        [
            NewBlock(
                label=block.label,
                value=block.value,
                description=block.description,
                limit=block.limit,
                read_only=block.read_only,
                metadata=block.metadata,
                tags=tuple(block.tags),
                hidden=block.hidden,
                project_id=block.project_id,
            )
            for block in blocks
        ],
        actor,
    )
    ConversationBlock.objects.bulk_create(
        ConversationBlock(conversation_id=conversation_id, block=copy, label=copy.label) for copy in copies
    )


def delete_own_blocks(conversation_ids: Sequence[str] | QuerySet[Any, Any]) -> None:
    """With these conversations go their own blocks, but for those that somebody attached to an agent."""
    own = Block.objects.filter(conversationblock__conversation_id__in=conversation_ids)
    own.filter(agentblock=None).delete()


def block_for_update(agent_id: str, conversation_id: str, label: str) -> Block | None:
    """The block of that label that the agent has in view there, locked until the transaction ends."""
    own = ConversationBlock.objects.filter(conversation_id=conversation_id, label=label)
    shared = AgentBlock.objects.filter(agent_id=agent_id, label=label)
    place = Coalesce(Subquery(own.values("block_id")), Subquery(shared.values("block_id")))
    return Block.objects.filter(pk=place).select_for_update(no_key=True, of=("self",)).first()


def lock_blocks(agent_id: str, conversation_id: str, labels: Iterable[str]) -> None:
    """Before several edits in one transaction: their blocks, locked in order of id."""
    wanted = set(labels)
    own = ConversationBlock.objects.filter(conversation_id=conversation_id, label__in=wanted)
    shared = AgentBlock.objects.filter(agent_id=agent_id, label__in=wanted).exclude(label__in=own.values("label"))
    found = own.order_by().values("block_id").union(shared.order_by().values("block_id"))
    blocks = Block.objects.filter(pk__in=found).order_by("pk")
    list(blocks.select_for_update(no_key=True, of=("self",)).values_list("pk"))


def labels_in(agent_id: str, conversation_id: str | None = None) -> list[str]:
    return sorted(block.label for block in blocks_in(agent_id, conversation_id))


def write_locked(block: Block, changes: Mapping[str, Any], actor: Actor) -> Block:
    """Like `change_block`, for a block that this transaction has locked already."""
    unknown = set(changes) - CHANGEABLE
    if unknown:
        raise Invalid(f"A block has no field {', '.join(sorted(unknown))} that can be changed.")
    changed = {name: value for name, value in changes.items() if getattr(block, name) != value}
    if not changed:
        return block
    for name, value in changed.items():
        setattr(block, name, value)
    _check(block)
    block.version += 1
    if actor.kind != RevisionActor.AGENT and actor.id:
        block.last_updated_by_id = actor.id
    block.save(update_fields=[*changed, "version", "last_updated_by_id", "updated_at"])
    _revision(block, actor).save(force_insert=True)
    if "label" in changed:
        _relabel(block)
    if SHOWN & set(changed):
        _touch(_who_shows(block))
    return block


def restore_revision(block_id: str, organization_id: str, version: int, actor: Actor) -> Block:
    """A new version of the block that equals an earlier one."""
    revision = BlockRevision.objects.filter(
        block_id=block_id, block__organization_id=organization_id, version=version
    ).first()
    if revision is None:
        raise NotFound(f"The block “{block_id}” has no version {version}.")
    changes = {
        "value": revision.value,
        "description": revision.description,
        "label": revision.label,
        "limit": revision.limit,
    }
    return change_block(block_id, organization_id, changes, actor)


def attach_block(agent_id: str, block_id: str, organization_id: str) -> Block:
    block = Block.objects.filter(pk=block_id, organization_id=organization_id).first()
    if block is None:
        raise NotFound(f"No block “{block_id}”.")
    attach_blocks(agent_id, [block])
    return block


@transaction.atomic
def attach_blocks(agent_id: str, blocks: Sequence[Block]) -> None:
    """Attach what is not attached yet. Raises Conflict where the agent has another block of the same label."""
    there = dict(AgentBlock.objects.filter(agent_id=agent_id).values_list("block_id", "label"))
    new = [block for block in blocks if block.pk not in there]
    labels = set(there.values())
    for block in new:
        if block.label in labels:
            raise Conflict(f"The agent already has a block “{block.label}”: detach it, or rename one of the two.")
        labels.add(block.label)
    if not new:
        return
    rows = [AgentBlock(agent_id=agent_id, block=block, label=block.label) for block in new]
    try:
        with transaction.atomic():
            AgentBlock.objects.bulk_create(rows)
    except IntegrityError:  # somebody attached one meanwhile
        raise Conflict("The agent was just given one of these blocks, or another of the same label.") from None
    touch_prompt([agent_id])


@transaction.atomic
def detach_block(agent_id: str, block_id: str) -> bool:
    """Whether it was attached."""
    deleted, _ = AgentBlock.objects.filter(agent_id=agent_id, block_id=block_id).delete()
    if deleted:
        touch_prompt([agent_id])
    return bool(deleted)


@transaction.atomic
def delete_block(block_id: str, organization_id: str) -> None:
    block = _locked(Block.objects.filter(pk=block_id, organization_id=organization_id), block_id)
    _touch(_who_shows(block))
    block.delete()


def touch_prompt(agent_ids: Iterable[str]) -> None:
    """Something that the compiled prompts of these agents show has changed."""
    _touch(Agent.objects.filter(pk__in=list(agent_ids)))


def _who_shows(block: Block) -> QuerySet[Agent]:
    """The agents that have the block, or a conversation that has it to itself."""
    shared = AgentBlock.objects.filter(block=block).values("agent_id")
    return Agent.objects.filter(
        pk__in=shared.union(ConversationBlock.objects.filter(block=block).values("conversation__agent_id"))
    )


def _touch(agents: QuerySet[Agent]) -> None:
    ordered = agents.order_by("pk").select_for_update(no_key=True, of=("self",)).values("pk")
    Agent.objects.filter(pk__in=ordered).update(prompt_version=F("prompt_version") + 1, updated_at=now())


def _locked(blocks: QuerySet[Block], block_id: str) -> Block:
    block = blocks.select_for_update(no_key=True, of=("self",)).first()
    if block is None:
        raise NotFound(f"No block “{block_id}”.")
    return block


def _check(block: Block) -> None:
    if not block.label or len(block.label) > MAX_LABEL or set(block.label) & set("<>\n"):
        raise Invalid(f"A block's label has 1 to {MAX_LABEL} characters, without “<”, “>” and line breaks.")
    if len(block.value) > block.limit:
        raise Invalid(
            f"The value of block “{block.label}” would have {len(block.value)} characters, more than its limit of "
            f"{block.limit}: shorten the value or raise the limit."
        )


def _relabel(block: Block) -> None:
    try:
        with transaction.atomic():
            AgentBlock.objects.filter(block=block).update(label=block.label)
            ConversationBlock.objects.filter(block=block).update(label=block.label)
    except IntegrityError:
        raise Conflict(f"Who has this block has another one labelled “{block.label}”.") from None


def _revision(block: Block, actor: Actor) -> BlockRevision:
    return BlockRevision(
        block=block,
        version=block.version,
        value=block.value,
        description=block.description,
        label=block.label,
        limit=block.limit,
        actor=actor.kind,
        actor_id=actor.id,
        reason=actor.reason,
        run_id=actor.run_id,
        step_id=actor.step_id,
    )
