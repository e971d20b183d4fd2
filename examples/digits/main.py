"""Trains a small neural network on scikit-learn's handwritten digits and shows all of it in Neptune."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from confusion import draw_confusion_matrix
from deepsense import neptune

# What `python main.py` works with; `neptune run` takes the values of config.yaml and its command line
# instead.
ctx = neptune.Context(
    offline_parameters={
        "epochs": 5,
        "learning_rate": 0.002,
        "batch_size": 32,
        "hidden_units": 64,
        "validation_share": 0.25,
        "shuffle": True,
        "seed": 7,
    }
)
params = ctx.params

NUMERIC, TEXT, IMAGE = neptune.ChannelType.NUMERIC, neptune.ChannelType.TEXT, neptune.ChannelType.IMAGE

batch_loss = ctx.create_channel("batch loss", NUMERIC)
train_loss = ctx.create_channel("train loss", NUMERIC)
validation_loss = ctx.create_channel("validation loss", NUMERIC)
train_accuracy = ctx.create_channel("train accuracy", NUMERIC)
validation_accuracy = ctx.create_channel("validation accuracy", NUMERIC)
report = ctx.create_channel("report", TEXT)
confusion = ctx.create_channel("confusion matrix", IMAGE)

ctx.create_chart("loss", series={"train": train_loss, "validation": validation_loss})
ctx.create_chart("accuracy", series={"train": train_accuracy, "validation": validation_accuracy})


def main() -> None:
    digits = load_digits()
    pictures = digits.data / 16.0
    x_train, x_validation, y_train, y_validation = train_test_split(
        pictures,
        digits.target,
        test_size=params.validation_share,
        stratify=digits.target,
        random_state=params.seed,
    )
    labels = np.unique(digits.target)
    prototypes = np.stack([digits.images[digits.target == label].mean(axis=0) / 16.0 for label in labels])
    report.send(0, f"{len(x_train)} pictures to learn from, {len(x_validation)} to judge by")

    model = MLPClassifier(
        hidden_layer_sizes=(params.hidden_units,),
        learning_rate_init=params.learning_rate,
        random_state=params.seed,
    )
    order = np.random.default_rng(params.seed)
    step = 0
    best_epoch, best_accuracy = 0, -1.0

    for epoch in range(1, params.epochs + 1):
        rows = order.permutation(len(x_train)) if params.shuffle else np.arange(len(x_train))
        for begin in range(0, len(rows), params.batch_size):
            batch = rows[begin : begin + params.batch_size]
            model.partial_fit(x_train[batch], y_train[batch], classes=labels)
            step += 1
            batch_loss.send(step, model.loss_)

        seen = model.predict_proba(x_train)
        unseen = model.predict_proba(x_validation)
        predicted = labels[unseen.argmax(axis=1)]
        accuracy = accuracy_score(y_validation, predicted)

        train_loss.send(epoch, log_loss(y_train, seen, labels=labels))
        validation_loss.send(epoch, log_loss(y_validation, unseen, labels=labels))
        train_accuracy.send(epoch, accuracy_score(y_train, labels[seen.argmax(axis=1)]))
        validation_accuracy.send(epoch, accuracy)

        counts = confusion_matrix(y_validation, predicted, labels=labels)
        mistakes = int(counts.sum() - counts.trace())
        picture = neptune.Image(
            name=f"epoch {epoch}",
            description=f"{mistakes} of {len(y_validation)} wrong; rows are true digits, columns predicted",
            data=draw_confusion_matrix(counts, prototypes),
        )
        confusion.send(epoch, picture)

        if accuracy > best_accuracy:
            best_epoch, best_accuracy = epoch, accuracy
            ctx.properties["best epoch"] = best_epoch
        line = f"epoch {epoch}: {accuracy:.1%} of the unseen digits are right, {mistakes} are wrong"
        report.send(epoch, line)
        print(line, flush=True)

    report.send(
        params.epochs + 1, classification_report(y_validation, predicted, labels=labels, zero_division=0)
    )
    ctx.properties["best validation accuracy"] = f"{best_accuracy:.4f}"
    if best_accuracy > 0.95:
        ctx.tags.append("converged")


if __name__ == "__main__":
    main()
