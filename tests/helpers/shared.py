"""Lists and dicts that copies of a model share, so that a test sees what happens in a run of a copy."""


class SharedList(list):
    def __deepcopy__(self, memo):
        return self


class SharedDict(dict):
    def __deepcopy__(self, memo):
        return self
