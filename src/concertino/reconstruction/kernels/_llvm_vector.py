"""Emit vector instructions as LLVM IR, for kernels that numba alone does not vectorise."""

from llvmlite import ir
from numba.core import cgutils

FLOAT = ir.FloatType()
INT = ir.IntType(32)


class VectorBuilder:
    """Short names for the IR of one intrinsic."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        kind = a.type
        function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            self.builder.module,
            ir.FunctionType(kind, [kind] * 3),
            f"llvm.fmuladd.v{kind.count}f32",
        )
        return self.builder.call(function, [a, b, c])

    def splat(self, scalar: ir.Value, count: int) -> ir.Value:
        undefined = ir.Constant(ir.VectorType(FLOAT, count), ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(INT, 0))
        return self.shuffled(first, [0] * count)

    def shuffled(self, vector: ir.Value, order: list[int]) -> ir.Value:
        undefined = ir.Constant(vector.type, ir.Undefined)
        mask = ir.Constant(ir.VectorType(INT, len(order)), order)
        return self.builder.shuffle_vector(vector, undefined, mask)

    def merged(self, one: ir.Value, other: ir.Value, order: list[int]) -> ir.Value:
        """Take lanes of two vectors; those of the second are counted on from the first's."""
        return self.builder.shuffle_vector(
            one, other, ir.Constant(ir.VectorType(INT, len(order)), order)
        )

    def pointer(self, address: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
        moved = self.builder.add(address, ir.Constant(address.type, offset))
        return self.builder.inttoptr(moved, kind.as_pointer())

    def load(self, address: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
        value = self.builder.load(self.pointer(address, offset, kind))
        value.align = 4
        return value

    def store(self, value: ir.Value, address: ir.Value) -> None:
        self.builder.store(value, self.pointer(address, 0, value.type)).align = 4

    def complex_product(self, vector: ir.Value, real: ir.Value, imaginary: ir.Value) -> ir.Value:
        """Multiply interleaved complex lanes by one complex number."""
        count = vector.type.count
        swapped = self.shuffled(vector, [lane ^ 1 for lane in range(count)])
        signs = ir.Constant(vector.type, [-1.0, 1.0] * (count // 2))
        signed = self.builder.fmul(self.splat(imaginary, count), signs)
        straight = self.builder.fmul(vector, self.splat(real, count))
        return self.fma(swapped, signed, straight)
