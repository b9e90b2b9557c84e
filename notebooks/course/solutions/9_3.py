"""Exercise 9.3. One probe for the code itself and one for each bit; get() has an answer where nobody lives."""


def answer(table, code, bits):
    probes = [code, *(code ^ (1 << i) for i in range(bits))]
    return sorted(index for probe in probes for index in table.get(probe, []))
