"""Where the methods come from: every citation stands here, once."""
from __future__ import annotations

CITATIONS = {
    "bach2015": "Bach, Binder, Montavon, Klauschen, Müller & Samek 2015, layer-wise relevance propagation, PLoS ONE 10(7)",
    "gu2018": "Gu, Yang & Tresp 2018, Understanding individual decisions of CNNs via contrastive backpropagation, ACCV",
    "kim2019": "Kim, Seo, Jeon, Koo, Choe & Jeon 2019, Why are saliency maps noisy?, ICCV workshops",
    "kindermans2018": "Kindermans, Schütt, Alber, Müller, Erhan, Kim & Dähne 2018, Learning how to explain neural networks, ICLR",
    "lapuschkin2017": "Lapuschkin, Binder, Müller & Samek 2017, Age and gender classification (CMP), ICCV workshops",
    "montavon2017": "Montavon, Lapuschkin, Binder, Samek & Müller 2017, deep Taylor decomposition, Pattern Recognition 65",
    "shrikumar2016": "Shrikumar, Greenside, Shcherbina & Kundaje 2016, Not just a black box, arXiv 1605.01713",
    "shrikumar2017": "Shrikumar, Greenside & Kundaje 2017, Learning important features (DeepLIFT), ICML",
    "simonyan2014": "Simonyan, Vedaldi & Zisserman 2014, Deep inside convolutional networks, ICLR workshop",
    "sixt2020": "Sixt, Granz & Landgraf 2020, When explanations lie, ICML",
    "smilkov2017": "Smilkov, Thorat, Kim, Viégas & Wattenberg 2017, SmoothGrad, ICML workshop",
    "springenberg2015": "Springenberg, Dosovitskiy, Brox & Riedmiller 2015, Striving for simplicity, ICLR workshop",
    "sundararajan2017": "Sundararajan, Taly & Yan 2017, Axiomatic attribution for deep networks, ICML",
    "zeiler2014": "Zeiler & Fergus 2014, Visualizing and understanding convolutional networks, ECCV",
    "zhang2018": "Zhang, Bargal, Lin, Brandt, Shen & Sclaroff 2018, Top-down neural attention by excitation backprop, IJCV 126",
}
