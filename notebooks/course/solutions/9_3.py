def answer(table, code, bits):
    """`get` leaves no empty lists behind, as indexing a defaultdict would."""
    keys = [code, *(code ^ (1 << bit) for bit in range(bits))]
    return sorted(face for key in keys for face in table.get(key, []))
