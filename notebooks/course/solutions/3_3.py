"""Exercise 3.3. Four times as many faces add their share to a sum; a mean divides by four again. To keep the balance,
the weight must fall as the batch grows: batch 64 wants four times the weight of batch 256."""

answer = (4, 1, 4e-4)
