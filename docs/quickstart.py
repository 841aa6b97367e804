"""The four commands of daily use, from Python. With a number it trains for so many iterations."""

import sys

import askonce

TASK, CACHE, RUN = "ColoredDoorKey", "my-cache", "my-run"
iterations = int(sys.argv[1]) if len(sys.argv) > 1 else None

report = askonce.build_cache(TASK, CACHE)  # ask, once; here the built-in simulated LLM
print(f"{report.texts} texts, {report.completions} completions")

answers = askonce.open_cache(CACHE, TASK)
print(answers("Agent sees a red key, holds nothing."))

askonce.train(TASK, RUN, cache=CACHE, iterations=iterations)  # offline, as often as you like
student = askonce.evaluate(TASK, run=RUN)
teacher = askonce.evaluate(TASK, cache=CACHE)
print(f"student {student.success_rate:.1%}, the LLM alone {teacher.success_rate:.1%}")

policy = askonce.load_student(TASK, RUN)  # a torch module, from observations to probabilities
print(f"{sum(parameter.numel() for parameter in policy.parameters()):,} parameters")
