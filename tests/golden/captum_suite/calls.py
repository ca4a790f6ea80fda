"""What each of Captum's classes means to us: method, options and `from` of a recorded call, one function a class."""

from arguments import Arguments, LeftOut, tuple_of


class Calls(Arguments):
    def Saliency(self):
        self.s["method"], self.s["options"] = "saliency", {"abs": self.args["abs"]}

    def NeuronGradient(self):
        self.neuron()
        self.s["method"], self.s["options"] = "saliency", {"abs": False}

    def InputXGradient(self):
        self.s["method"] = "input-x-gradient"

    def IntegratedGradients(self):
        self.s["method"] = "integrated-gradients"
        self.path_options()
        self.s["options"]["multiply_by_inputs"] = self.m.multiplies_by_inputs
        self.baselines()

    def NeuronIntegratedGradients(self):
        self.IntegratedGradients()
        self.neuron()

    def LayerIntegratedGradients(self):
        self.IntegratedGradients()
        self.layer_from()
        self.layer_at_baseline()

    def LayerActivation(self):
        self.s["method"] = "activation"
        self.layer_from()

    def LayerGradientXActivation(self):
        self.s["method"] = "gradient-x-activation"
        self.s["options"] = {"multiply_by_inputs": self.m.multiplies_by_inputs}
        self.layer_from()

    def InternalInfluence(self):
        self.s["method"], self.s["vary"] = "internal-influence", self.names
        self.path_options()
        self.baselines()
        self.layer_from()

    def LayerConductance(self):
        self.s["method"], self.s["vary"] = "conductance", self.names
        self.path_options()
        self.baselines()
        self.layer_from()

    def NeuronConductance(self):
        self.s["method"], self.s["vary"] = "conductance", self.names
        self.path_options()
        self.s["options"]["multiply_by_inputs"] = self.m.multiplies_by_inputs
        self.baselines()
        to = self.s["to"]
        self.neuron()
        (through,) = self.s["to"]
        if "index" not in through:
            raise LeftOut("conductance through a sum of neurons")
        self.s["options"]["through"] = through["value"] + ":" + ",".join(map(str, through["index"][0]))
        self.s["to"] = to

    def GradientShap(self):
        self.s["method"], self.s["vary"] = "gradient-shap", self.names
        o = self.s["options"]
        o["n_samples"] = self.args["n_samples"]
        o["stdevs"] = list(tuple_of(self.args["stdevs"]))
        o["multiply_by_inputs"] = self.m.multiplies_by_inputs
        self.baselines(distribution=True)

    def LayerGradientShap(self):
        self.GradientShap()
        self.layer_from()

    def NeuronGradientShap(self):
        self.GradientShap()
        self.neuron()

    # rules

    def DeepLift(self):
        self.s["method"], self.s["vary"] = "deep-lift", self.names
        self.s["options"]["multiply_by_inputs"] = self.m.multiplies_by_inputs
        if self.args.get("custom_attribution_func") is not None:
            raise LeftOut("a Python function combines the multipliers")
        self.baselines()

    def LayerDeepLift(self):
        self.DeepLift()
        self.layer_from()

    def NeuronDeepLift(self):
        self.DeepLift()
        self.neuron()

    def DeepLiftShap(self):
        self.DeepLift()
        self.s["method"] = "deep-lift-shap"
        self.s["options"].pop("baselines", None)
        self.baselines(distribution=True)

    def LayerDeepLiftShap(self):
        self.DeepLiftShap()
        self.layer_from()

    def NeuronDeepLiftShap(self):
        self.DeepLiftShap()
        self.neuron()

    def GuidedBackprop(self):
        self.s["method"] = "guided-backprop"

    def NeuronGuidedBackprop(self):
        self.GuidedBackprop()
        self.neuron()

    def Deconvolution(self):
        self.s["method"] = "deconvolution"

    def NeuronDeconvolution(self):
        self.Deconvolution()
        self.neuron()

    def LayerGradCam(self):
        self.s["method"] = "grad-cam"
        self.s["options"] = {k: self.args[k] for k in ("relu_attributions", "attr_dim_summation")}
        self.layer_from()

    def GuidedGradCam(self):
        self.s["method"] = "guided-grad-cam"
        self.s["options"] = {"layer": self.e.layers[0], "interpolate_mode": self.args["interpolate_mode"]}

    def LRP(self):
        """One rule for all layers, or rules by the layer's value; Captum's default is epsilon 1e-9."""
        self.s["method"], self.s["options"] = "lrp", {"rule": "epsilon", "epsilon": 1e-9, "stabilizer": 1e-9}
        kinds = {type(rule).__name__ for rule in self.call_rules.values()}
        o = self.s["options"]
        if kinds == {"Alpha1_Beta0_Rule"}:
            o.update(rule="alpha-beta", alpha=1, beta=0)
        elif kinds == {"GammaRule"}:
            # A layer without negative weights scales as a whole: its gamma cancels.
            modules = dict(self.m.model.named_modules())
            gammas = {r.gamma for n, r in self.call_rules.items() if bool((modules[n].weight < 0).any())}
            if len(gammas) > 1:
                raise LeftOut("several gammas")
            o.update(rule="gamma", gamma=max(gammas or {0.25}))
        elif kinds == {"IdentityRule", "EpsilonRule"}:
            named = [f"{v}=identity" for v, n in zip(self.e.layers, self.rule_names) if self.is_identity(n)]
            o["rules"] = ",".join(named)
        elif kinds - {"EpsilonRule"}:
            raise LeftOut("rules " + ", ".join(sorted(kinds)))

    def is_identity(self, name):
        return type(self.call_rules[name]).__name__ == "IdentityRule"

    def LayerLRP(self):
        self.LRP()
        self.layer_from()

    # perturbations

    def FeatureAblation(self):
        self.s["method"] = "feature-ablation"
        self.baselines()
        self.masks()

    def LayerFeatureAblation(self):
        self.s["method"] = "feature-ablation"
        self.layer_from()
        self.baselines("layer_baselines", self.e.layers, self.e.layer_shapes)
        self.masks("layer_mask", self.e.layers, self.e.layer_shapes)

    def NeuronFeatureAblation(self):
        self.FeatureAblation()
        self.neuron()

    def FeaturePermutation(self):
        if len(self.inputs[0]) < 2:
            raise LeftOut("one example has nothing to exchange features with: an error")
        self.s["method"] = "feature-permutation"
        self.masks()

    def LayerFeaturePermutation(self):
        self.s["method"] = "feature-permutation"
        self.layer_from()
        self.masks("layer_mask", self.e.layers, self.e.layer_shapes)

    def Occlusion(self):
        self.s["method"] = "occlusion"
        windows = self.args["sliding_window_shapes"]
        windows = [windows] if not isinstance(windows[0], tuple) else list(windows)
        strides = self.args.get("strides")
        if strides is None or isinstance(strides, int):
            strides = [strides] * len(windows)
        elif len(self.inputs) == 1 and not isinstance(strides[0], tuple):
            strides = [strides]
        o = self.s["options"]
        o["sliding_window_shapes"] = [list(w) for w in windows]
        o["strides"] = [[s or 1] * len(w) if s is None or isinstance(s, int) else list(s) for s, w in zip(strides, windows)]
        if self.e.aggregate:
            raise LeftOut("windows over an aggregate")
        self.baselines()

    def ShapleyValueSampling(self):
        self.FeatureAblation()
        self.s["method"] = "shapley-value-sampling"
        self.s["options"]["n_samples"] = self.args["n_samples"]

    def ShapleyValues(self):
        self.FeatureAblation()
        self.s["method"] = "shapley-values"

    def Lime(self):
        self.FeatureAblation()
        self.s["method"] = "lime"
        o = self.s["options"]
        o["n_samples"] = self.args["n_samples"]
        fitted = type(self.m.interpretable_model).__name__
        kinds = {"SkLearnLasso": "lasso", "SkLearnRidge": "ridge", "SkLearnLinearRegression": "linear"}
        if fitted not in kinds:
            raise LeftOut("fits " + fitted)
        o["interpretable_model"] = kinds[fitted]
        alpha = self.m.interpretable_model.construct_kwargs.get("alpha")
        if alpha is not None:
            o["alpha"] = alpha
        similarity = self.m.similarity_func
        for name, cell in zip(similarity.__code__.co_freevars, similarity.__closure__ or ()):
            if name in ("distance_mode", "kernel_width"):
                o[name] = cell.cell_contents
        self.coefficients()

    def KernelShap(self):
        self.FeatureAblation()
        self.s["method"] = "kernel-shap"
        self.s["options"]["n_samples"] = self.args["n_samples"]
        self.coefficients()

    def coefficients(self):
        if self.args.get("return_input_shape") is False:
            self.s["ids"] = self.mask_ids()

    def NoiseTunnel(self, args):
        o = self.s["options"]
        inner, self.s["vary"] = self.s["method"], self.names
        own = {"nt_type": args["nt_type"], "nt_samples": args["nt_samples"], "stdevs": list(tuple_of(args["stdevs"]))}
        self.s["method"] = "noise-tunnel"
        self.s["options"] = {"inner": inner, **own, **{"inner_" + k if k in own else k: v for k, v in o.items()}}
