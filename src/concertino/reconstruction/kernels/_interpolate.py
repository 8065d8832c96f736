"""Vector code that adds what a projection shows along a piece of a line through a volume.

Positions on the detector are counted along its fast axis, which is contiguous in memory, and its slow
one. Where neighbours on the line are at most two elements apart along the fast axis, which is so in
most geometries, the elements of a whole piece fit two vector registers, and picking them from there is
several times as fast as loading them one by one. That takes AVX2 or AVX-512; else, and where neighbours
are farther apart, elements are loaded in pairs. With AVX2, which picks from one register at a time, pieces
are near where neighbours are at most one element apart: their elements fit one register, and those that
follow another.
"""

import contextlib
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

from ._llvm_vector import FLOAT, INT, VectorBuilder

_SLOW_SPAN = 6  # slow elements that a piece may cross before pairs are cheaper
# eight neighbours in the order in which two vectors of pairs are taken apart without a detour
_FIRST, _SECOND = (0, 1, 4, 5), (2, 3, 6, 7)

_NEEDED = {"avx512": "+avx512f", "avx2": "+avx2"}


def _instructions() -> str:
    """What picks elements from registers in code for this processor: avx512, avx2 or nothing."""
    wanted = config.CPU_FEATURES  # type: ignore[attr-defined]
    features = (get_host_cpu_features() if wanted is None else wanted).split(",")  # type: ignore[no-untyped-call]
    if "+fma" not in features:
        return ""
    return next((name for name in ("avx512", "avx2") if _NEEDED[name] in features), "")


INSTRUCTIONS = _instructions()
AT_ONCE = 16 if INSTRUCTIONS == "avx512" else 8
NEAR_COUNTS = INSTRUCTIONS == "avx2"


def _table_places(near: bool) -> tuple[int, int]:
    """Where the two vectors to pick from begin, in bytes."""
    return (0, 4) if near else (0, 4 * AT_ONCE)


class _Piece(VectorBuilder):
    """Emits the steps of one piece; `context` is numba's."""

    many = ir.VectorType(FLOAT, AT_ONCE)
    whole = ir.VectorType(INT, AT_ONCE)

    def ramp(self, start: Any, step: Any) -> Any:
        counting = ir.Constant(self.many, [float(lane) for lane in range(AT_ONCE)])
        return self.fma(counting, self.splat(step, AT_ONCE), self.splat(start, AT_ONCE))

    def numbers(self) -> Any:
        return ir.Constant(self.whole, list(range(AT_ONCE)))

    def splat_int(self, scalar: Any) -> Any:
        undefined = ir.Constant(self.whole, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, INT(0))
        return self.shuffled(first, [0] * AT_ONCE)

    def called(self, name: str, kind: Any, arguments: list[Any]) -> Any:
        function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            self.builder.module, ir.FunctionType(kind, [a.type for a in arguments]), name
        )
        return self.builder.call(function, arguments)

    def end(self, start: Any, step: Any, last: Any) -> Any:
        """Value of a ramp at its last lane, rounded as there."""
        steps = self.builder.sitofp(last, FLOAT)
        return self.called("llvm.fmuladd.f32", FLOAT, [steps, step, start])

    def counted(self, count: Any, complete: bool) -> tuple[Any, Any]:
        """Return which lanes count, None for all, and the last of them."""
        if complete:
            return None, INT(AT_ONCE - 1)
        mask = self.builder.icmp_signed("<", self.numbers(), self.splat_int(count))
        return mask, self.builder.sub(count, INT(1))

    def ends(
        self, args: Any, places: tuple[int, ...], last: Any, *, perspective: bool
    ) -> list[tuple[Any, Any]]:
        """First and last value of ramps, of which `args` has start and step at some places.

        In perspective they are divided by the depth, whose ramp is the one after them.
        """
        ends = [(args[i], self.end(args[i], args[i + 1], last)) for i in places]
        if not perspective:
            return ends
        one, depth = ir.Constant(FLOAT, 1.0), places[-1] + 2
        inverses = [
            self.builder.fdiv(one, value)
            for value in (args[depth], self.end(args[depth], args[depth + 1], last))
        ]
        return [
            (self.builder.fmul(first, inverses[0]), self.builder.fmul(second, inverses[1]))
            for first, second in ends
        ]

    def lowest_highest(self, one: Any, other: Any) -> tuple[Any, Any]:
        """Whole parts of two scalars, the lower first."""
        a, b = self.builder.fptosi(one, INT), self.builder.fptosi(other, INT)
        less = self.builder.icmp_signed("<", a, b)
        return self.builder.select(less, a, b), self.builder.select(less, b, a)

    def aligned(self, reach: tuple[Any, Any]) -> Any:
        """First of the 2 `AT_ONCE` elements to load: where it can be, it begins a cache line."""
        before = self.builder.and_(reach[0], INT(-AT_ONCE))
        fits = self.builder.icmp_signed(
            "<", self.builder.sub(reach[1], before), INT(2 * AT_ONCE - 1)
        )
        return self.builder.select(fits, before, reach[0])

    def picked_near(self, vector: Any, index: Any) -> Any:
        """Elements of a vector of eight by index."""
        return self.called("llvm.x86.avx2.permps", self.many, [vector, index])

    def picked(self, low: Any, high: Any, index: Any) -> Any:
        """Elements of two vectors by index into both."""
        if INSTRUCTIONS == "avx512":
            name = "llvm.x86.avx512.vpermi2var.ps.512"
            return self.called(name, self.many, [low, index, high])
        parts = [self.picked_near(part, index) for part in (low, high)]
        beyond = self.builder.icmp_signed(">", index, ir.Constant(self.whole, [7] * AT_ONCE))
        return self.builder.select(beyond, parts[1], parts[0])

    def by_nearness(self, near: Any, emit: Callable[[bool], None]) -> None:
        """Emit what differs for near pieces, where it does."""
        if not NEAR_COUNTS:
            emit(False)
            return
        with self.builder.if_else(self.builder.icmp_signed("!=", near, INT(0))) as (yes, no):
            with yes:
                emit(True)
            with no:
                emit(False)

    def moved(self, address: Any, elements: Any) -> Any:
        """Address some (signed) elements further."""
        wide = self.builder.sext(elements, address.type)
        return self.builder.add(address, self.builder.shl(wide, address.type(2)))

    def add_to(self, target: Any, seen: Any, scale: Any, mask: Any) -> None:
        """Add to the lanes of the mask; None: to all, and no scale: 1."""
        if mask is None:
            old = self.load(target, 0, self.many)
        else:
            place = self.pointer(target, 0, self.many)
            nothing = ir.Constant(self.many, [0.0] * AT_ONCE)
            name = f"llvm.masked.load.v{AT_ONCE}f32.p0"
            old = self.called(name, self.many, [place, INT(4), mask, nothing])
        new = self.builder.fadd(old, seen) if scale is None else self.fma(scale, seen, old)
        if mask is None:
            self.store(new, target)
        else:
            name = f"llvm.masked.store.v{AT_ONCE}f32.p0"
            self.called(name, ir.VoidType(), [new, place, INT(4), mask])

    def places(self, fast: Any, base: Any, near: bool) -> tuple[Any, Any]:
        """Elements before some positions, counted from `base`, and the shares of those after."""
        builder = self.builder
        whole, first = builder.fptosi(fast, self.whole), self.splat_int(base)
        if near:  # rounding may bring the last one to the next element, seen from before it
            last = builder.add(first, ir.Constant(self.whole, [AT_ONCE - 1] * AT_ONCE))
            whole = builder.select(builder.icmp_signed("<", whole, last), whole, last)
        share = builder.fsub(fast, builder.sitofp(whole, self.many))
        return builder.sub(whole, first), share

    def between(self, tables: tuple[Any, Any], index: Any, share: Any, near: bool) -> Any:
        """Interpolate in two vectors; where `near`, the second has what follows each of the first's.

        Else it goes on where the first ends.
        """
        if near:
            before, after = (self.picked_near(table, index) for table in tables)
        else:
            following = self.builder.add(index, ir.Constant(self.whole, [1] * AT_ONCE))
            before, after = (self.picked(*tables, chosen) for chosen in (index, following))
        return self.fma(share, self.builder.fsub(after, before), before)

    def from_registers(
        self,
        source: Any,
        stride: Any,
        fast: Any,
        slow: Any,
        base: Any,
        edges: tuple[Any, Any],
        near: bool,
    ) -> Any:
        """Interpolate where the piece fits: `base` is the first fast element, `edges` slow ones."""
        builder = self.builder
        index, share = self.places(fast, base, near)
        start = self.moved(self.moved(source, base), builder.mul(edges[0], stride))
        step = builder.shl(builder.sext(stride, source.type), source.type(2))
        deep = builder.fsub(slow, self.splat(builder.sitofp(edges[0], FLOAT), AT_ONCE))

        def seen(address: Any) -> Any:
            low, high = (self.load(address, offset, self.many) for offset in _table_places(near))
            return self.between((low, high), index, share, near)

        def at_most_one(value: Any) -> Any:
            one = ir.Constant(self.many, [1.0] * AT_ONCE)
            return builder.select(builder.fcmp_ordered("<", value, one), value, one)

        def at_least_zero(value: Any) -> Any:
            zero = ir.Constant(self.many, [0.0] * AT_ONCE)
            return builder.select(builder.fcmp_ordered(">", value, zero), value, zero)

        # each lane climbs from the first slow element to its own place, step by step
        first, beside = seen(start), builder.add(start, step)
        second = seen(beside)
        total = cgutils.alloca_once(builder, self.many)  # type: ignore[no-untyped-call]
        climbed = builder.fsub(second, first)
        builder.store(self.fma(at_most_one(deep), climbed, first), total)
        more = builder.sub(edges[1], edges[0])
        with contextlib.ExitStack() as nested:  # a loop would be unrolled, which costs more
            for extra in range(1, _SLOW_SPAN + 1):
                nested.enter_context(
                    builder.if_then(builder.icmp_signed(">=", more, INT(extra)), likely=False)
                )
                beside = builder.add(beside, step)
                first, second = second, seen(beside)
                part = builder.fsub(deep, ir.Constant(self.many, [float(extra)] * AT_ONCE))
                part = at_most_one(at_least_zero(part))
                climbed = builder.fsub(second, first)
                builder.store(self.fma(part, climbed, builder.load(total)), total)
        return builder.load(total)

    def from_pairs(self, source: Any, stride: Any, fast: Any, slow: Any, mask: Any) -> Any:
        """Interpolate anywhere; lanes outside of the mask read the first element."""
        builder = self.builder
        rows, columns = builder.fptosi(slow, self.whole), builder.fptosi(fast, self.whole)
        along = builder.fsub(fast, builder.sitofp(columns, self.many))
        across = builder.fsub(slow, builder.sitofp(rows, self.many))
        places = builder.add(builder.mul(rows, self.splat_int(stride)), columns)
        if mask is not None:
            places = builder.select(mask, places, ir.Constant(self.whole, [0] * AT_ONCE))
        pair = ir.VectorType(FLOAT, 2)
        step = builder.shl(builder.sext(stride, source.type), source.type(2))
        near, far = [], []
        for lane in range(AT_ONCE):
            address = self.moved(source, builder.extract_element(places, INT(lane)))
            near.append(self.load(address, 0, pair))
            far.append(self.load(builder.add(address, step), 0, pair))
        eights = [
            self._eight(
                near[i : i + 8], far[i : i + 8], self.shuffled(across, list(range(i, i + 8)))
            )
            for i in range(0, AT_ONCE, 8)
        ]
        before, after = eights[0]
        if AT_ONCE == 16:
            before, after = (
                self.merged(eights[0][i], eights[1][i], list(range(16))) for i in (0, 1)
            )
        return self.fma(along, builder.fsub(after, before), before)

    def _eight(self, near: list[Any], far: list[Any], across: Any) -> tuple[Any, Any]:
        """Mix eight pairs with those beside them, and take the pairs apart."""

        def joined(pairs: list[Any], order: tuple[int, ...]) -> Any:
            halves = [
                self.merged(pairs[order[i]], pairs[order[i + 1]], list(range(4))) for i in (0, 2)
            ]
            return self.merged(halves[0], halves[1], list(range(8)))

        mixed = []
        for order in (_FIRST, _SECOND):
            one, other = joined(near, order), joined(far, order)
            share = self.shuffled(across, [lane for lane in order for _ in range(2)])
            mixed.append(self.fma(share, self.builder.fsub(other, one), one))
        before = self.merged(mixed[0], mixed[1], [0, 2, 8, 10, 4, 6, 12, 14])
        return before, self.merged(mixed[0], mixed[1], [1, 3, 9, 11, 5, 7, 13, 15])


@intrinsic
def add_piece(
    typingctx: Any,
    target: Any,
    source: Any,
    stride: Any,
    slow: Any,
    slow_step: Any,
    fast: Any,
    fast_step: Any,
    depth: Any,
    depth_step: Any,
    near: Any,
    count: Any,
    depths: Any,
    whole: Any,
) -> Any:
    """Add to `AT_ONCE` neighbours, or to `count` of them, what they see of a projection.

    `source` is the address of the projection's element (0, 0), `stride` the elements of a slow step;
    positions are `slow`, `slow + slow_step`, ... and so on. With a pair as `depths` positions are
    divided by the depth, and what is seen by its square. With a pair as `whole` all neighbours count.
    `near`, a number, tells that neighbours are at most one fast element apart.
    """
    single, index = types.float32, types.uintp
    signature = types.void(
        index, index, types.int32, *[single] * 6, *[types.int32] * 2, depths, whole
    )
    perspective, complete = depths.count == 2, whole.count == 2

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        piece = _Piece(builder)
        target, source, stride = args[0], args[1], args[2]
        near, count = args[9], args[10]
        slow, fast, scale = piece.ramp(args[3], args[4]), piece.ramp(args[5], args[6]), None
        if perspective:
            ones = ir.Constant(piece.many, [1.0] * AT_ONCE)
            inverse = builder.fdiv(ones, piece.ramp(args[7], args[8]))
            slow, fast = builder.fmul(slow, inverse), builder.fmul(fast, inverse)
            scale = builder.fmul(inverse, inverse)
        mask, last = piece.counted(count, complete)
        ends = piece.ends(args, (3, 5), last, perspective=perspective)
        edges, reach = (piece.lowest_highest(*pair) for pair in ends)
        value = cgutils.alloca_once(builder, piece.many)  # type: ignore[no-untyped-call]
        if INSTRUCTIONS:
            # one more for the element that follows
            narrow = builder.icmp_signed("<", builder.sub(reach[1], reach[0]), INT(2 * AT_ONCE - 1))
            straight = builder.icmp_signed("<=", builder.sub(edges[1], edges[0]), INT(_SLOW_SPAN))
            with builder.if_else(builder.and_(narrow, straight), likely=True) as (yes, no):
                with yes:

                    def pick(is_near: bool) -> None:
                        base = reach[0] if is_near else piece.aligned(reach)
                        seen = piece.from_registers(
                            source, stride, fast, slow, base, edges, is_near
                        )
                        builder.store(seen, value)

                    piece.by_nearness(near, pick)
                with no:
                    builder.store(piece.from_pairs(source, stride, fast, slow, mask), value)
        else:
            builder.store(piece.from_pairs(source, stride, fast, slow, mask), value)
        piece.add_to(target, builder.load(value), scale, mask)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_straight_piece(
    typingctx: Any,
    target: Any,
    source: Any,
    beside: Any,
    share: Any,
    other_share: Any,
    fast: Any,
    fast_step: Any,
    near: Any,
    count: Any,
    whole: Any,
) -> Any:
    """As `add_piece`, where all see the same two slow elements, and neighbours are at most 2 apart.

    `source` and `beside` are the addresses of their first fast elements, which are mixed by the two
    shares before elements are picked. `near` as there.
    """
    single, index = types.float32, types.uintp
    signature = types.void(*[index] * 3, *[single] * 4, *[types.int32] * 2, whole)
    complete = whole.count == 2

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        piece = _Piece(builder)
        fast = piece.ramp(args[5], args[6])
        near = args[7]
        mask, last = piece.counted(args[8], complete)
        reach = piece.lowest_highest(args[5], piece.end(args[5], args[6], last))
        shares = [piece.splat(args[i], AT_ONCE) for i in (3, 4)]
        value = cgutils.alloca_once(builder, piece.many)  # type: ignore[no-untyped-call]

        def pick(is_near: bool) -> None:
            base = reach[0] if is_near else piece.aligned(reach)
            starts = [piece.moved(args[i], base) for i in (1, 2)]
            tables = []
            for offset in _table_places(is_near):
                one, other = (piece.load(start, offset, piece.many) for start in starts)
                tables.append(piece.fma(shares[1], other, builder.fmul(shares[0], one)))
            index, part = piece.places(fast, base, is_near)
            builder.store(piece.between((tables[0], tables[1]), index, part, is_near), value)

        piece.by_nearness(near, pick)
        piece.add_to(args[0], builder.load(value), None, mask)
        return context.get_dummy_value()

    return signature, generate
