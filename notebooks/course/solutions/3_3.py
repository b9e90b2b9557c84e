"""Exercise 3.3. Weight times centre loss must stay what it was, beside a cross-entropy that has not changed. The sum
grows with the number of faces, and each squared distance with the square of the stretch."""


def answer(weight, batch, new_batch, stretch):
    return weight * batch / new_batch / stretch**2
