"""`open_store`: a store without images and without the framework that filled it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..checks import flag, keywords, whole
from ..errors import BadOption
from ..surface import by_surface
from . import answers, reading
from .contents import Contents
from .plan import Plan
from .storage import storage_of
from .table import Table
from .top import Look, channel_picture, sample_images, scatter_picture, top_images

if TYPE_CHECKING:
    from ..picture.picture import Picture


class Store(Contents):
    """What a scan has kept of a data set, and what that tells: what `scan` and `open_store` return.

    >>> from layerscope.store.example import example_store
    >>> store = example_store()
    >>> store, store.layers, store.failures
    (<Store of 12 images, 2 layers>, ('conv1', 'conv2'), ())

    Attributes:
        storage: Where it lies.
        plan: What made it.
    """

    def stats(self, layer: str | None = None) -> Table:
        """The figures of each channel over the whole data set: range, mean, quantiles, dead, constant and saturated channels.

        Counts, ranges, means and deviations are exact; quantiles come from a histogram whose bins are about 3 % of their values
        wide. `sparsity` is the share of zeros, `positive` that of values above 0. A channel is `saturated` where at least half
        of its values lie within 3 % of its largest.

        >>> from layerscope.store.example import example_store
        >>> table = example_store().stats("conv1")
        >>> len(table), table["dead"].any(), table["q05"][0] <= table["median"][0] <= table["q95"][0]
        (4, np.False_, np.True_)

        Args:
            layer: Its path, or a part of only that; not needed where the store holds one layer.

        Raises:
            LayerNotFound: The store has no such layer, or several.
        """
        kept = self._kept(layer)
        return self._so_far(answers.statistics_table(kept, self.tally(layer)))

    def histogram(self, layer: str | None, channel: int | str) -> Table:
        """How the values of one channel are spread over the whole data set: the bins that hold something.

        A table, as of `stats`; the report of the store draws it.

        >>> from layerscope.store.example import example_store
        >>> table = example_store().histogram("conv1", 2)
        >>> list(table.columns), int(table["count"].sum())
        (['low', 'high', 'count'], 768)

        Args:
            layer: Its path, or a part of only that; `None` where the store holds one layer.
            channel: Its true number, or the class that it stands for.

        Raises:
            LayerNotFound: The store has no such layer, or several.
            BadChannels: The store has no such channel of it.
        """
        kept = self._kept(layer)
        return self._so_far(answers.histogram_table(kept, self.tally(layer), reading.channel_at(kept, channel)))

    @keywords
    def top(
        self,
        layer: str | None,
        channel: int | str,
        *,
        samples: bool = False,
        k: int | None = None,
        view: str = "overlay",
        columns: int | None = None,
        title: str | None = None,
        caption: bool = True,
        theme: str = "light",
    ) -> Picture:
        """The images that excite a channel most, the strongest first. Needs neither the images nor the model.

        >>> from layerscope.store.example import example_store
        >>> picture = example_store().top("conv1", 2, k=4, view="crop")
        >>> len(picture.cells), picture.title
        (4, 'conv1 · channel 2 · top 4 of 12 images')

        Args:
            layer: Its path, or a part of only that; `None` where the store holds one layer.
            channel: Its true number, or the class that it stands for.
            samples: In place of the top an image of each eighth by the largest value, also what it answers to weakly.
            k: How many of the top; `None`: 9, or as many as the scan was told to remember, by default 16.
            view: `"overlay"` (the map on the photo), `"masked"` (the photo where the channel is active), `"crop"` (what the
                unit with the largest value can see), `"contour"` (a line around what is active), or `"photo"`. Active is what
                lies above the 99th percentile of the channel over the data set.
            columns: Photos in a row.
            title: The title in place of the usual one; `""` for none.
            caption: Whether title, subject and notes are drawn.
            theme: `"light"`, `"dark"` or `"transparent"` paper.

        Raises:
            LayerNotFound: The store has no such layer, or several.
            BadChannels: The store has no such channel of it.
            BadOption: The scan isn't finished, or kept statistics alone and samples are asked for; or an option is invalid.
        """
        kept = self._kept(layer)
        at, look = reading.channel_at(kept, channel), Look(view, columns, title, caption, theme)
        if not flag("samples", samples):
            return channel_picture(self, kept, at, top_images(self, kept, at, k), look=look)
        if k is not None:
            raise BadOption(
                f"{by_surface(f'k={k}', f'-k {k}')} is for the top: samples are one of each eighth",
                "leave one of them out",
            )
        return channel_picture(self, kept, at, sample_images(self, kept, at), look=look)

    def classes(self, layer: str | None = None, by: str = "max") -> Table:
        """For each channel the class that it answers to most, where the images have labels.

        `inside` is the mean over the images of that class, `others` the mean of the other classes' means, `selectivity`
        (inside − others) / (inside + others), the index of Morcos et al. 2018, NaN where a mean is negative; `auc` the
        probability that an image of the class has the larger value than one of the others. A channel that is the same in every
        class has none. Values that aren't finite are left out.

        >>> from layerscope.store.example import example_store
        >>> example_store().classes("conv2")["class"].tolist()[:2]
        ['dark', 'light']

        Args:
            layer: Its path, or a part of only that; not needed where the store holds one layer.
            by: `"mean"` or `"max"` over the positions of the map.

        Raises:
            BadOption: The images have no labels, or all the same, or the store holds statistics alone.
            LayerNotFound: The store has no such layer, or several.
        """
        return self._so_far(answers.class_table(self, self._kept(layer), by))

    def class_means(self, layer: str | None = None, by: str = "max") -> Table:
        """A table of channels by classes: the mean over the images of each class.

        >>> from layerscope.store.example import example_store
        >>> list(example_store().class_means("conv2").columns)
        ['channel', 'dark', 'light']

        Args:
            layer: As for `classes`.
            by: As for `classes`.

        Raises:
            BadOption: As `classes`.
            LayerNotFound: The store has no such layer, or several.
        """
        return self._so_far(answers.class_means_table(self, self._kept(layer), by))

    @keywords
    def similar_channels(self, layer: str | None, channel: int | str, *, by: str = "max", count: int = 10) -> Table:
        """The channels that react to the same images as one channel: by the correlation of their values over all images.

        Images in which one of the two isn't finite are left out; NaN is that of another channel that is constant, and of fewer
        than three images.

        >>> from layerscope.store.example import example_store
        >>> len(example_store().similar_channels("conv1", 2, count=3))
        3

        Args:
            layer: Its path, or a part of only that; `None` where the store holds one layer.
            channel: Its true number, or the class that it stands for.
            by: `"mean"` or `"max"` over the positions of the map.
            count: How many channels.

        Raises:
            BadOption: The channel is the same in every image, the store holds statistics alone, or an invalid option.
            LayerNotFound: The store has no such layer, or several.
            BadChannels: The store has no such channel of it.
        """
        kept = self._kept(layer)
        at = reading.channel_at(kept, channel)
        return self._so_far(answers.similar_channels_table(self, kept, at, by=by, count=whole("count", count)))

    @keywords
    def similar_images(self, layer: str | None, image: int | str, *, by: str = "mean", count: int = 10) -> Table:
        """The images that a layer sees as most like one image: by the cosine of their vectors.

        Vectors are of the channels that are finite in every image; an image whose vector is 0 is like none.

        >>> from layerscope.store.example import example_store
        >>> example_store().similar_images("conv1", 0, count=5)["label"]
        ['dark', 'dark', 'dark', 'dark', 'dark']

        Args:
            layer: Its path, or a part of only that; `None` where the store holds one layer.
            image: Its number or its name.
            by: `"mean"` or `"max"` over the positions of the map.
            count: How many images.

        Raises:
            BadOption: There is no such image, it couldn't be read, or the store holds statistics alone.
            LayerNotFound: The store has no such layer, or several.
        """
        row = reading.row_of(self.ids, image)
        return self._so_far(
            answers.similar_images_table(self, self._kept(layer), row, by=by, count=whole("count", count))
        )

    @keywords
    def scatter(
        self,
        layer: str | None = None,
        *,
        by: str = "mean",
        method: str = "pca",
        seed: int = 0,
        title: str | None = None,
        caption: bool = True,
        theme: str = "light",
    ) -> Picture:
        """The images as points of a plane, so that those lie together which a layer sees as alike; photos where there is room.

        >>> from layerscope.store.example import example_store
        >>> len(example_store().scatter("conv1").cells)
        12

        Args:
            layer: Its path, or a part of only that; not needed where the store holds one layer.
            by: `"mean"` or `"max"` over the positions of the map.
            method: `"pca"`, the first two principal components, or `"umap"`, which needs umap-learn.
            seed: What UMAP's random numbers begin with.
            title: The title in place of the usual one; `""` for none.
            caption: Whether title, subject and notes are drawn.
            theme: `"light"`, `"dark"` or `"transparent"` paper.

        Raises:
            LayerNotFound: The store has no such layer, or several.
            BadOption: The scan isn't finished or kept statistics alone, or an option is invalid.
            LibraryMissing: umap-learn isn't installed.
        """
        look = Look(title=title, caption=caption, theme=theme)
        return scatter_picture(self, self._kept(layer), by=by, method=method, seed=whole("seed", seed, 0), look=look)

    @keywords
    def compare(
        self, other: Store | str, layer: str | None = None, *, other_layer: str | None = None, by: str = "mean"
    ) -> Table:
        """Which channels have moved between two stores of the same images, such as before and after fine-tuning.

        `correlation` is that of a channel's values over the images, `distance` the Jensen-Shannon distance of its histograms,
        from 0 (the same) to 1 (nothing in common).

        >>> from layerscope.store.example import example_store
        >>> store = example_store()
        >>> store.compare(store, "conv1")["correlation"].round(6).tolist()
        [1.0, 1.0, 1.0, 1.0]

        Args:
            other: The store of the other model, or its folder.
            layer: Its path, or a part of only that; not needed where the store holds one layer.
            other_layer: The layer of the other store; `None`: that of the same path.
            by: `"mean"` or `"max"` over the positions of the map.

        Raises:
            BadOption: The stores are of other images (the first that differs is named), or the layers have other channels.
            LayerNotFound: A store has no such layer, or several.
        """
        kept, other = self._kept(layer, "this store"), _store(other)
        same = other._kept(other_layer or reading.path_of(kept), "the other store")
        return self._both_so_far(answers.compare_table(self, other, kept, same, by=by), other)

    @keywords
    def cka(self, other: Store | str | None = None, *, layers: Sequence[str] | None = None, by: str = "mean") -> Table:
        """How much layers agree on which images are alike: linear CKA, 1 for the same up to a rotation.

        >>> from layerscope.store.example import example_store
        >>> example_store().cka()["conv1"].round(3).tolist()[0]
        1.0

        Args:
            other: A store of the same images through another model, or its folder, for the columns; `None`: this one.
            layers: The layers of this store; `None` for all.
            by: `"mean"` or `"max"` over the positions of the map.

        Raises:
            BadOption: The stores are of other images, or of fewer than four.
            LayerNotFound: The store has no such layer, or several.
        """
        chosen = [layers] if isinstance(layers, str) else self.layers if layers is None else list(layers)
        if not chosen:
            raise BadOption("layers=[]: give at least one layer, or None for all")
        names = [reading.path_of(self._kept(name)) for name in chosen]
        to = self if other is None else _store(other)
        table = answers.cka_table(self, to, names, names if other is None else list(to.layers), by=by)
        return self._both_so_far(table, to)

    def _both_so_far(self, table: Table, other: Store) -> Table:
        """The table of two stores, which says in its last lines which of them isn't finished."""
        if self._unfinished == other._unfinished:
            return self._so_far(table)
        words = {"this store is": self._unfinished, "the other store is": other._unfinished}
        return replace(table, notes=(*table.notes, *(f"{whose} {text}" for whose, text in words.items() if text)))


def _store(store: Any) -> Store:
    return store if isinstance(store, Store) else open_store(store)


def open_store(store: Any) -> Store:
    """The store in a folder or at a URL, as `scan` has left it, also one that isn't finished.

    >>> from layerscope.store.example import example_store
    >>> open_store(str(example_store().storage))
    <Store of 12 images, 2 layers>

    Args:
        store: The folder, or the URL.

    Raises:
        BadOption: There is no store, or one of another version.
    """
    storage = storage_of(store)
    plan = Plan.read(storage)
    if plan is None:
        raise BadOption(f"{storage}: there is no store here (no store.json); `scan` makes one")
    return Store(storage, plan)
