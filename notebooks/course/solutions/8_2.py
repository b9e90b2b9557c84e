"""With R = decay / 2 ||W||^2 the gradient of decay / 2 R^2 is decay R times the gradient of R."""


def answer(kernel, decay):
    return decay * decay / 2 * float(kernel.square().sum())
